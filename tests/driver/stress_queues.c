/* SPDX-License-Identifier: MIT */
/* Many queues with a random graph of signals and waits between them.
 *
 * Every queue gets rounds of: wait for up to three events of other queues that were appended
 * earlier, note and advance the queue's own position (two copies), signal an event. As each wait
 * names an event appended before, the graph has no cycles and must drain. Checked after each batch:
 * every command ran exactly once, in order, after its waits; the number of threads stayed fixed.
 *
 *     stress_queues [queues] [seconds] [seed]
 */
#include "soft_test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 4, WAITS_MAX = 3, BIG = 64 << 10, BIG_EVERY = 50 };

struct node {
    uint32_t waits[WAITS_MAX];          /* events it waits for */
    uint32_t wait_count;
};

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % bound;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct graph {
    uint32_t queue_count, node_count;
    ze_command_list_handle_t *lists;
    ze_event_pool_handle_t pool;
    ze_event_handle_t *events;          /* one per node, and the gate behind them */
    struct node *nodes;
    uint32_t *queue_of;                 /* the queue of each node */
    uint64_t *log;                      /* per queue: what each round noted, then the position */
    uint64_t *positions;                /* constants 0, 1, 2 ... to copy from */
    char *source, *sinks;               /* some queues copy much, each to its own place */
};

static void graph_open(struct graph *graph, uint32_t queues)
{
    graph->queue_count = queues;
    graph->node_count = queues * ROUNDS;
    graph->lists = calloc(queues, sizeof(*graph->lists));
    graph->events = calloc(graph->node_count + 1, sizeof(*graph->events));
    graph->nodes = calloc(graph->node_count, sizeof(*graph->nodes));
    graph->queue_of = calloc(graph->node_count, sizeof(*graph->queue_of));
    graph->pool = soft_pool(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP, graph->node_count + 1);
    graph->log = soft_device_memory((size_t)queues * (ROUNDS + 1) * sizeof(*graph->log));
    graph->positions = soft_device_memory((ROUNDS + 1) * sizeof(*graph->positions));
    graph->source = soft_device_memory(BIG);
    graph->sinks = soft_device_memory((size_t)(queues / BIG_EVERY + 1) * BIG);
    for (uint64_t i = 0; i <= ROUNDS; i++)
        graph->positions[i] = i;
    for (uint32_t i = 0; i < queues; i++)
        graph->lists[i] = soft_immediate(i % soft.device_count, 0);
    for (uint32_t i = 0; i <= graph->node_count; i++)
        graph->events[i] = soft_event(graph->pool, i);
}

static void graph_close(struct graph *graph)
{
    for (uint32_t i = 0; i <= graph->node_count; i++)
        OK(zeEventDestroy(graph->events[i]));
    for (uint32_t i = 0; i < graph->queue_count; i++)
        OK(zeCommandListDestroy(graph->lists[i]));
    OK(zeEventPoolDestroy(graph->pool));
    soft_free(graph->log);
    soft_free(graph->positions);
    soft_free(graph->source);
    soft_free(graph->sinks);
    free(graph->lists);
    free(graph->events);
    free(graph->nodes);
    free(graph->queue_of);
}

/* Two commands: the first notes the position its queue has reached, the second advances it by one.
 * Only commands that run once each and in order note 0, 1, 2 ... */
static void append_node(struct graph *graph, uint32_t index, uint32_t queue, uint32_t round)
{
    ze_event_handle_t waits[WAITS_MAX + 1];
    struct node *node = &graph->nodes[index];
    uint64_t *log = graph->log + (size_t)queue * (ROUNDS + 1);
    uint32_t count = 0;

    node->wait_count = random_below(WAITS_MAX + 1);
    graph->queue_of[index] = queue;
    for (uint32_t i = 0; i < node->wait_count; i++) {
        node->waits[i] = index ? random_below(index) : graph->node_count;
        waits[count++] = graph->events[node->waits[i]];
    }
    if (round == 0)
        waits[count++] = graph->events[graph->node_count];
    if (queue % BIG_EVERY == 0)
        OK(zeCommandListAppendMemoryCopy(graph->lists[queue],
                                         graph->sinks + (size_t)(queue / BIG_EVERY) * BIG,
                                         graph->source, BIG, NULL, 0, NULL));
    OK(zeCommandListAppendMemoryCopy(graph->lists[queue], &log[round], &log[ROUNDS], sizeof(*log),
                                     NULL, count, waits));
    OK(zeCommandListAppendMemoryCopy(graph->lists[queue], &log[ROUNDS],
                                     &graph->positions[round + 1], sizeof(*log),
                                     graph->events[index], 0, NULL));
}

static void check_graph(struct graph *graph)
{
    for (uint32_t i = 0; i < graph->node_count; i++) {
        ze_kernel_timestamp_result_t own, other;
        const struct node *node = &graph->nodes[i];

        OK(zeEventQueryStatus(graph->events[i]));
        OK(zeEventQueryKernelTimestamp(graph->events[i], &own));
        for (uint32_t k = 0; k < node->wait_count; k++) {
            OK(zeEventQueryKernelTimestamp(graph->events[node->waits[k]], &other));
            CHECK(other.global.kernelEnd <= own.global.kernelStart);
        }
    }
    for (uint32_t queue = 0; queue < graph->queue_count; queue++) {
        const uint64_t *log = graph->log + (size_t)queue * (ROUNDS + 1);

        for (uint64_t round = 0; round < ROUNDS; round++)
            CHECK(log[round] == round);
        CHECK(log[ROUNDS] == ROUNDS);
    }
}

static void run_batch(struct graph *graph)
{
    memset(graph->log, 0, (size_t)graph->queue_count * (ROUNDS + 1) * sizeof(*graph->log));
    for (uint32_t i = 0; i <= graph->node_count; i++)
        OK(zeEventHostReset(graph->events[i]));
    for (uint32_t round = 0, index = 0; round < ROUNDS; round++)
        for (uint32_t queue = 0; queue < graph->queue_count; queue++, index++)
            append_node(graph, index, queue, round);
    OK(zeEventHostSignal(graph->events[graph->node_count]));
    for (uint32_t i = graph->node_count; i-- > 0;)
        OK(zeEventHostSynchronize(graph->events[i], FOREVER));
}

int main(int argc, char **argv)
{
    uint32_t queues = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000;
    double limit = argc > 2 ? strtod(argv[2], NULL) : 30, start;
    struct graph graph = { 0 };
    unsigned threads = 0, batches = 0;

    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    soft_open();
    graph_open(&graph, queues);
    start = seconds();
    do {
        run_batch(&graph);
        check_graph(&graph);
        if (batches++ == 0)
            threads = soft_threads();
        CHECK(soft_threads() == threads);
    } while (seconds() - start < limit);
    printf("%u queues, %u batches, %.0f commands/s, %u threads\n", queues, batches,
           (double)graph.node_count * 2 * batches / (seconds() - start), threads);
    graph_close(&graph);
    soft_close();
    return 0;
}
