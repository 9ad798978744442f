/* SPDX-License-Identifier: MIT */
/* Many queues with random graphs of signals and waits, for some seconds.
 *
 *   driver_stress [--seconds N] [--queues N] [--threads N]
 *
 * Work is done in batches of ROUNDS rounds. In each round every queue gets a node: it waits for up
 * to WAITS nodes that come before it in a random order (of this round or earlier ones), copies
 * their marks, steps its own count, and signals its own event. Nodes are appended by several
 * threads in yet another order, so that most waits are appended before the signal they mean. One
 * queue in LISTS_EVERY executes recorded lists instead of being an immediate one.
 *
 * Each command leaves a trace that only a command run exactly once, in order and after its waits
 * can leave; all traces are checked after each batch, and the number of threads of the process too.
 */
#include "tests/conformance/soft.h"

#include <dirent.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 4
#define WAITS 3
#define LISTS_EVERY 8
#define LONG_EVERY 64                   /* nodes with a copy that no caller does itself */
#define LONG_BYTES (64u << 10)
#define THREADS_MAX 16

/* What one node waits for and leaves behind. */
struct node {
    ze_event_handle_t event;
    uint32_t wait_count;
    struct node *waits[WAITS];
    uint64_t seen[WAITS];               /* the marks of those, copied after the waits */
    uint64_t before;                    /* the queue's count when the node began */
    uint64_t mark;                      /* the queue's count when it ended */
    bool has_long;
};

struct queue {
    ze_command_list_handle_t list;      /* immediate; or NULL */
    ze_command_queue_handle_t queue;    /* of recorded lists; or NULL */
    ze_command_list_handle_t recorded[ROUNDS];
    uint64_t count;                     /* stepped by each node */
    struct node nodes[ROUNDS];
    char *scratch;                      /* of long copies */
};

static struct {
    unsigned long seconds, queue_count, thread_count;
    struct queue *queues;
    uint32_t *ranks[ROUNDS];            /* a random order of the queues, for each round */
    uint64_t steps[ROUNDS + 1];         /* what counts become: never changed while a batch runs */
    char *long_source;
    uint64_t seed, commands;
    pthread_barrier_t turn;
    bool over;
} stress = { .seconds = 3, .queue_count = 10000, .thread_count = 4 };

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static unsigned thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;

    test_require(tasks, "no /proc");
    for (struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* ---- making a batch -------------------------------------------------------------------------- */

static void shuffle(uint64_t *random, uint32_t *order)
{
    for (uint32_t i = 0; i < stress.queue_count; i++) {
        uint32_t j = (uint32_t)(soft_random(random) % (i + 1));

        order[i] = order[j];
        order[j] = i;
    }
}

/* A node may wait for all of earlier rounds, and for those in front of it in its own round: no two
 * can wait for each other. */
static void node_plan(uint64_t *random, uint32_t round, uint32_t position)
{
    struct node *node = &stress.queues[stress.ranks[round][position]].nodes[round];

    node->wait_count = 0;
    node->before = node->mark = UINT64_MAX;
    node->has_long = soft_random(random) % LONG_EVERY == 0;
    for (uint32_t i = (uint32_t)(soft_random(random) % (WAITS + 1)); i > 0; i--) {
        uint32_t other_round = (uint32_t)(soft_random(random) % (round + 1)), other;

        if (other_round == round && position == 0)
            continue;
        other = (uint32_t)(soft_random(random) %
                           (other_round == round ? position : stress.queue_count));
        node->seen[node->wait_count] = UINT64_MAX;
        node->waits[node->wait_count++] =
            &stress.queues[stress.ranks[other_round][other]].nodes[other_round];
    }
}

static void plan(uint64_t *random, uint64_t batch)
{
    for (uint32_t round = 0; round <= ROUNDS; round++)
        stress.steps[round] = batch * ROUNDS + round;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        shuffle(random, stress.ranks[round]);
        for (uint32_t i = 0; i < stress.queue_count; i++)
            node_plan(random, round, i);
    }
}

/* ---- appending it ---------------------------------------------------------------------------- */

static void copy_word(ze_command_list_handle_t list, uint64_t *to, const uint64_t *from,
                      ze_event_handle_t signal, uint32_t wait_count, ze_event_handle_t *waits)
{
    REQUIRE_ZE(
        zeCommandListAppendMemoryCopy(list, to, from, sizeof(*to), signal, wait_count, waits));
}

static uint32_t node_append(struct queue *queue, uint32_t round, ze_command_list_handle_t list)
{
    struct node *node = &queue->nodes[round];
    ze_event_handle_t waits[WAITS];
    uint32_t commands = 3;

    for (uint32_t i = 0; i < node->wait_count; i++)
        waits[i] = node->waits[i]->event;
    if (node->wait_count > 0 && node->has_long) {
        REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, node->wait_count, waits));
        copy_word(list, &node->before, &queue->count, NULL, 0, NULL);
        commands++;
    } else {
        copy_word(list, &node->before, &queue->count, NULL, node->wait_count, waits);
    }
    for (uint32_t i = 0; i < node->wait_count; i++, commands++)
        copy_word(list, &node->seen[i], &node->waits[i]->mark, NULL, 0, NULL);
    if (node->has_long) {
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, queue->scratch, stress.long_source,
                                                 LONG_BYTES, NULL, 0, NULL));
        commands++;
    }
    copy_word(list, &queue->count, &stress.steps[round + 1], NULL, 0, NULL);
    copy_word(list, &node->mark, &queue->count, node->event, 0, NULL);
    return commands;
}

static uint32_t node_submit(struct queue *queue, uint32_t round)
{
    ze_command_list_handle_t list = queue->list ? queue->list : queue->recorded[round];
    uint32_t commands = node_append(queue, round, list);

    if (queue->queue) {
        REQUIRE_ZE(zeCommandListClose(list));
        REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue->queue, 1, &list, NULL));
    }
    return commands;
}

/* The submitting threads share the queues out among them; each goes through its own in random
 * order, but through the rounds of one queue in order. */
static void *submitter(void *argument)
{
    unsigned long own = (uintptr_t)argument, share = stress.queue_count / stress.thread_count;
    unsigned long first = own * share;
    unsigned long last = own + 1 == stress.thread_count ? stress.queue_count : first + share;
    uint64_t random = stress.seed + own + 1;
    uint64_t commands;

    for (;;) {
        pthread_barrier_wait(&stress.turn);
        if (stress.over)
            return NULL;
        commands = 0;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            unsigned long start = soft_random(&random) % (last - first);

            for (unsigned long i = 0; i < last - first; i++)
                commands +=
                    node_submit(&stress.queues[first + (start + i) % (last - first)], round);
        }
        __atomic_fetch_add(&stress.commands, commands, __ATOMIC_RELAXED);
        pthread_barrier_wait(&stress.turn);
    }
}

/* ---- checking it ----------------------------------------------------------------------------- */

static void queue_check(struct queue *queue)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const struct node *node = &queue->nodes[round];

        test_require(node->before == stress.steps[round] && node->mark == stress.steps[round + 1],
                     "round %u of queue %ld went from %llu to %llu", round,
                     (long)(queue - stress.queues), (unsigned long long)node->before,
                     (unsigned long long)node->mark);
        for (uint32_t i = 0; i < node->wait_count; i++)
            test_require(node->seen[i] == node->waits[i]->mark, "a command ran before its wait");
    }
    test_require(queue->count == stress.steps[ROUNDS], "a command ran twice");
}

static void batch_finish(void)
{
    for (unsigned long i = 0; i < stress.queue_count; i++)
        for (uint32_t round = 0; round < ROUNDS; round++)
            REQUIRE_ZE(zeEventHostSynchronize(stress.queues[i].nodes[round].event, FOREVER));
    for (unsigned long i = 0; i < stress.queue_count; i++) {
        struct queue *queue = &stress.queues[i];

        queue_check(queue);
        if (queue->queue)
            REQUIRE_ZE(zeCommandQueueSynchronize(queue->queue, FOREVER));
        for (uint32_t round = 0; round < ROUNDS; round++) {
            REQUIRE_ZE(zeEventHostReset(queue->nodes[round].event));
            if (queue->queue)
                REQUIRE_ZE(zeCommandListReset(queue->recorded[round]));
        }
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void queues_make(ze_event_pool_handle_t pool)
{
    stress.queues = calloc(stress.queue_count, sizeof(*stress.queues));
    stress.long_source = calloc(1, LONG_BYTES);
    for (uint32_t round = 0; round < ROUNDS; round++)
        stress.ranks[round] = calloc(stress.queue_count, sizeof(uint32_t));
    for (uint32_t i = 0; i < stress.queue_count; i++) {
        struct queue *queue = &stress.queues[i];

        queue->scratch = malloc(LONG_BYTES);
        for (uint32_t round = 0; round < ROUNDS; round++)
            queue->nodes[round].event = soft_event(pool, i * ROUNDS + round);
        if (i % LISTS_EVERY != 0) {
            queue->list = soft_immediate_on(soft.devices[i % soft.device_count], 0,
                                            ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                                            (ze_command_queue_priority_t)(i % 3), 0);
            continue;
        }
        queue->queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
        for (uint32_t round = 0; round < ROUNDS; round++)
            queue->recorded[round] = soft_list(0);
    }
}

static void queues_release(ze_event_pool_handle_t pool)
{
    for (uint32_t i = 0; i < stress.queue_count; i++) {
        struct queue *queue = &stress.queues[i];

        for (uint32_t round = 0; round < ROUNDS; round++) {
            REQUIRE_ZE(zeEventDestroy(queue->nodes[round].event));
            if (queue->queue)
                REQUIRE_ZE(zeCommandListDestroy(queue->recorded[round]));
        }
        if (queue->queue)
            REQUIRE_ZE(zeCommandQueueDestroy(queue->queue));
        else
            REQUIRE_ZE(zeCommandListDestroy(queue->list));
        free(queue->scratch);
    }
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    for (uint32_t round = 0; round < ROUNDS; round++)
        free(stress.ranks[round]);
    free(stress.long_source);
    free(stress.queues);
}

/* One for each CPU, and never less than two. */
static unsigned workers_expected(void)
{
    cpu_set_t cpus;
    int count;

    test_require(sched_getaffinity(0, sizeof(cpus), &cpus) == 0, "no affinity");
    count = CPU_COUNT(&cpus);
    return count < 2 ? 2 : (unsigned)count;
}

static uint64_t batches_run(uint64_t *random)
{
    uint64_t end = now_ns() + stress.seconds * SECOND, batch = 0;
    unsigned before = thread_count(), expected = before + workers_expected();

    do {
        plan(random, batch++);
        pthread_barrier_wait(&stress.turn); /* submitters begin */
        pthread_barrier_wait(&stress.turn); /* and have submitted all */
        test_require(thread_count() <= expected, "%u threads instead of %u", thread_count(),
                     expected);
        batch_finish();
        test_require(thread_count() == expected, "%u threads instead of %u", thread_count(),
                     expected);
    } while (now_ns() < end);
    printf("%u threads, %u of them workers\n", expected, expected - before);
    return batch;
}

static void options_parse(int argc, char **argv)
{
    static const struct option options[] = { { "seconds", required_argument, NULL, 's' },
                                             { "queues", required_argument, NULL, 'q' },
                                             { "threads", required_argument, NULL, 't' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;

        test_require(value > 0, "driver_stress [--seconds N] [--queues N] [--threads N]");
        if (option == 's')
            stress.seconds = value;
        else if (option == 'q')
            stress.queue_count = value;
        else if (option == 't')
            stress.thread_count = value;
    }
    test_require(stress.thread_count <= THREADS_MAX && stress.thread_count <= stress.queue_count,
                 "that many threads make no sense");
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    ze_event_pool_handle_t pool;
    uint64_t random, batches;

    options_parse(argc, argv);
    random = stress.seed = soft_seed();
    soft_open();
    pool = soft_pool((uint32_t)stress.queue_count * ROUNDS, 0);
    queues_make(pool);
    pthread_barrier_init(&stress.turn, NULL, (unsigned)stress.thread_count + 1);
    for (unsigned long i = 0; i < stress.thread_count; i++)
        test_require(pthread_create(&threads[i], NULL, submitter, (void *)(uintptr_t)i) == 0,
                     "no thread");
    batches = batches_run(&random);
    stress.over = true;
    pthread_barrier_wait(&stress.turn);
    for (unsigned long i = 0; i < stress.thread_count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&stress.turn);
    queues_release(pool);
    soft_close();
    printf("%lu queues, %llu batches, %llu commands: each once, in order, after its waits\n",
           stress.queue_count, (unsigned long long)batches, (unsigned long long)stress.commands);
    return 0;
}
