/* SPDX-License-Identifier: MIT */
/* tests/system/rings.c: clients that use rings, rightly and wrongly. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(rings, .timeout = 300);

static void open_with_rings(struct raw *raw, struct scene *scene)
{
    raw_open(raw, scene->daemon.socket);
    test_require(raw_open_rings(raw, 0, 0) == XPURT_SUCCESS, "%s", raw->text);
}

/* ---- as they are meant ----------------------------------------------------------------------- */

static void work(struct scene *scene)
{
    uint32_t *bytes;
    uint32_t segment;
    uint64_t memory;
    struct raw raw;

    open_with_rings(&raw, scene);
    raw_stream_create(&raw, 3, 0);
    test_require(raw_memory_alloc(&raw, 4096, &memory) == 0, "%s", raw.text);
    raw.by_socket = true;               /* its reply has a descriptor */
    test_require(raw_host_alloc(&raw, 4096, &segment, (void **)&bytes) == 0, "%s", raw.text);
    raw.by_socket = false;
    for (uint32_t i = 0; i < 200; i++) {
        raw_fill(&raw, 3, 0, memory, 4096, i, 4);
        raw_copy(&raw, 3, segment, 0, 0, memory, 4096);
        raw_record(&raw, 3);
        test_require(raw_finish(&raw, 3) == XPURT_SUCCESS, "%s", raw.text);
        test_require(bytes[0] == i && bytes[1023] == i, "round %u", i);
    }
    test_require(raw_counter(&raw, "user-ring-bytes") > 0, "rings cost nothing");
    test_require(!raw.errors, "%s", raw.text);
    raw_close(&raw);
}

Test(rings, work)
{
    scene_play(work, 5);
}

/* More than the ring holds, again and again; a request waits for what was sent before. */
static void flood(struct scene *scene)
{
    struct raw raw;
    uint64_t before;

    open_with_rings(&raw, scene);
    raw_stream_create(&raw, 0, 0);
    before = raw_counter(&raw, "records");
    for (int i = 0; i < 30000; i++)
        raw_record(&raw, 0);
    raw.by_socket = true;
    test_require(raw_counter(&raw, "records") >= before + 30000, "the socket was faster");
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    raw_close(&raw);
}

Test(rings, flood)
{
    scene_play(flood, 5);
}

/* Frames that take many turns, with a request behind the commands. */
static void long_frames(struct scene *scene)
{
    static const uint8_t stats[] = { 0x10, 0x63, 0x6a, 0x00 }; /* serial 99, Stats */
    static uint8_t payload[FRAME_PAYLOAD_MAX];
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (int by_ring = 0; by_ring < 2; by_ring++) {
        raw_stream_create(&raw, 0, 0);
        for (int k = 0; k < 10; k++) {
            size_t size = 0;

            for (int i = 0; i < 3000; i++) {
                uint8_t *out = payload + size;
                uint64_t value = ++raw.values[0];

                size += 2;
                out[0] = 0x0a;
                out[2] = 0x0a;          /* Record */
                out[4] = 0x10;          /* its value */
                for (size = (size_t)(out - payload) + 5; value > 127; value >>= 7)
                    payload[size++] = (uint8_t)(value | 128);
                payload[size++] = (uint8_t)value;
                out[1] = (uint8_t)(payload + size - out - 2);
                out[3] = (uint8_t)(out[1] - 2);
            }
            memcpy(payload + size, stats, sizeof(stats));
            test_require(raw_send_frame(&raw, payload, size + sizeof(stats)) == 0, "gone");
            while (raw_receive(&raw, 30000) == RAW_FRAME && raw.reply->serial != 99)
                ;
            test_require(raw.reply && raw.reply->serial == 99 && !raw.errors, "%s", raw.text);
        }
        test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
        raw_stream_destroy(&raw, 0);
        raw_settle(&raw);
        if (!by_ring)
            test_require(raw_open_rings(&raw, 262144, 0) == XPURT_SUCCESS, "%s", raw.text);
    }
    raw_close(&raw);
}

Test(rings, long_frames)
{
    scene_play(long_frames, 3);
}

/* ---- asked for wrongly ----------------------------------------------------------------------- */

static void bad_requests(struct scene *scene)
{
    static const uint32_t sizes[] = { 1, 4096, RING_SIZE_MIN + 4096, 3 << 16, 2 * RING_SIZE_MAX };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        test_require(raw_open_rings(&raw, sizes[i], 0) == XPURT_ERROR_INVALID_ARGUMENT, "size");
        test_require(raw_open_rings(&raw, 0, sizes[i]) == XPURT_ERROR_INVALID_ARGUMENT, "size");
    }
    test_require(raw_open_rings(&raw, UINT32_MAX, UINT32_MAX) == XPURT_ERROR_QUOTA, "size");
    test_require(raw_open_rings(&raw, 0, 0) == XPURT_SUCCESS, "%s", raw.text);
    raw.by_socket = true;
    test_require(raw_open_rings(&raw, 0, 0) == XPURT_ERROR_INVALID_ARGUMENT, "twice");
    raw_close(&raw);
}

Test(rings, bad_requests)
{
    scene_play(bad_requests, 5);
}

/* The memory cannot be made smaller under the daemon. */
static void sealed(struct scene *scene)
{
    Xpurt__RingOpen open = XPURT__RING_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(RING_OPEN), .ring_open = &open };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_result(&raw, &request) == XPURT_SUCCESS, "%s", raw.text);
    test_require(ftruncate(raw.fds.fds[0], 0) < 0, "the rings shrink");
    test_require(ftruncate(raw.fds.fds[0], 1 << 24) < 0, "the rings grow");
    test_require((fcntl(raw.fds.fds[0], F_GET_SEALS) & F_SEAL_SEAL), "seals can be added");
    raw_close(&raw);
}

Test(rings, sealed)
{
    scene_play(sealed, 3);
}

/* ---- used wrongly ---------------------------------------------------------------------------- */

static void expect_refused(struct raw *raw)
{
    (void)eventfd_write(raw->bell, 1);
    test_require(raw_closed(raw), "the daemon goes on with a client that breaks the ring");
    test_require(raw->error == XPURT_ERROR_PROTOCOL, "it was closed without a reason");
    test_require(strstr(raw->text, "ring"), "it does not say why: %s", raw->text);
    raw_close(raw);
}

static void wild_indices(struct scene *scene)
{
    static const uint64_t tails[] = { UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 32,
                                      RING_SIZE_MAX + 1 };
    struct raw raw;

    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        open_with_rings(&raw, scene);
        atomic_store(&raw.rings.to_daemon.shared->tail, tails[i]);
        expect_refused(&raw);
    }

    open_with_rings(&raw, scene);       /* backward, behind what was read */
    raw_settle(&raw);
    atomic_store(&raw.rings.to_daemon.shared->tail, raw.rings.to_daemon.position - 1);
    expect_refused(&raw);
}

Test(rings, wild_indices)
{
    scene_play(wild_indices, 5);
}

static void bad_frames(struct scene *scene)
{
    struct frame_header header = { .length = 100 };
    uint8_t bytes[FRAME_HEADER_SIZE + 100] = { 0 };
    struct raw raw;

    open_with_rings(&raw, scene);
    memset(bytes, 0xff, FRAME_HEADER_SIZE);
    raw_put(&raw, bytes, FRAME_HEADER_SIZE);
    expect_refused(&raw);

    open_with_rings(&raw, scene);       /* less than a header */
    raw_put(&raw, bytes, FRAME_HEADER_SIZE - 1);
    expect_refused(&raw);

    open_with_rings(&raw, scene);       /* less than it says */
    frame_header_write(bytes, &header);
    raw_put(&raw, bytes, sizeof(bytes) - 1);
    expect_refused(&raw);

    open_with_rings(&raw, scene);       /* descriptors */
    header.fds = 1;
    frame_header_write(bytes, &header);
    raw_put(&raw, bytes, sizeof(bytes));
    expect_refused(&raw);
}

Test(rings, bad_frames)
{
    scene_play(bad_frames, 5);
}

/* A head that cannot be is met when the daemon has to say much. Nothing is read before: that would put the
 * head right. */
static void wild_heads(struct scene *scene)
{
    struct pollfd closed = { .events = POLLRDHUP };
    struct raw raw;

    open_with_rings(&raw, scene);
    atomic_store(&raw.rings.to_client.shared->head, UINT64_C(1) << 40);
    raw.by_socket = true;
    for (int i = 0; i < 1000; i++)
        raw_stream_destroy(&raw, 5);    /* which does not exist: an Error for each */
    closed.fd = raw.fd;
    test_require(poll(&closed, 1, 30000) == 1, "the daemon believes a wild head");
    expect_refused(&raw);
}

Test(rings, wild_heads)
{
    scene_play(wild_heads, 5);
}

/* Rubbish as fast as it goes, with the bell ringing. */
static void garbage(struct scene *scene)
{
    static unsigned seed = 1;
    struct raw raw;

    for (int k = 0; k < 20; k++) {
        open_with_rings(&raw, scene);
        for (size_t i = 0; i < raw.rings.to_daemon.size; i++)
            raw.rings.to_daemon.bytes[i] = (uint8_t)rand_r(&seed);
        atomic_store(&raw.rings.to_daemon.shared->tail, raw.rings.to_daemon.size);
        for (int i = 0; i < 100; i++)
            (void)eventfd_write(raw.bell, 1);
        test_require(raw_closed(&raw), "rubbish is fine");
        raw_close(&raw);
    }
}

Test(rings, garbage)
{
    scene_play(garbage, 3);
}

static _Atomic bool stop;

static void *scribble(void *data)
{
    struct raw *raw = data;
    unsigned seed = 1;

    while (!atomic_load(&stop))
        raw->rings.to_daemon.bytes[(unsigned)rand_r(&seed) % 4096] ^= (uint8_t)rand_r(&seed);
    return NULL;
}

/* The bytes change while the daemon reads them. */
static void moving_bytes(struct scene *scene)
{
    pthread_t thread;
    struct raw raw;

    for (int k = 0; k < 10; k++) {
        open_with_rings(&raw, scene);
        atomic_store(&stop, false);
        test_require(pthread_create(&thread, NULL, scribble, &raw) == 0, "a thread");
        raw_stream_create(&raw, 0, 0);
        for (int i = 0; i < 2000; i++) {
            uint8_t frame[FRAME_HEADER_SIZE + 3] = { 3, 0, 0, 0, 0, 0, 0, 0, 0x0a, 1, 0 };

            if (raw_put(&raw, frame, sizeof(frame)) < 0)
                break;
        }
        scene_sleep_ms(2);
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        raw_close(&raw);
    }
}

Test(rings, moving_bytes)
{
    scene_play(moving_bytes, 3);
}

/* ---- the bell -------------------------------------------------------------------------------- */

/* The client shares the bell's flags: it must not be able to make the daemon wait. */
static void blocking_bell(struct scene *scene)
{
    eventfd_t count;
    struct raw raw;

    open_with_rings(&raw, scene);
    test_require(fcntl(raw.bell, F_SETFL, 0) == 0, "flags");
    for (int i = 0; i < 2000; i++) {
        struct pollfd pollfd = { .fd = raw.bell, .events = POLLIN };

        (void)eventfd_write(raw.bell, 1);
        if (poll(&pollfd, 1, 0) == 1 && i % 2)
            (void)preadv2(raw.bell, &(struct iovec){ &count, sizeof(count) }, 1, -1, RWF_NOWAIT);
    }
    raw_settle(&raw);
    raw_close(&raw);
}

Test(rings, blocking_bell)
{
    scene_play(blocking_bell, 3);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void leave(struct scene *scene)
{
    struct raw raw;
    pid_t pid = fork();

    test_require(pid >= 0, "fork");
    if (pid == 0) {
        open_with_rings(&raw, scene);
        raw_stream_create(&raw, 0, 0);
        for (int i = 0; i < 3000; i++)
            raw_record(&raw, 0);
        _exit(0);
    }
    test_require(waitpid(pid, NULL, 0) == pid, "waitpid");
}

/* What was in the ring when its process ended is done all the same. */
static void heard_out(struct scene *scene)
{
    uint64_t before = raw_counter(&scene->watcher, "records");

    leave(scene);
    while (raw_counter(&scene->watcher, "sessions") > 2)
        scene_sleep_ms(1);
    test_require(raw_counter(&scene->watcher, "records") >= before + 3000, "some were lost");
}

Test(rings, heard_out)
{
    scene_play(heard_out, 5);
}

static void ring_bytes_of_a_user(struct scene *scene)
{
    struct raw raw, other;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    test_require(raw_open_rings(&raw, 65536, 65536) == XPURT_SUCCESS, "%s", raw.text);
    test_require(raw_open_rings(&other, 65536, 65536) == XPURT_ERROR_QUOTA, "a ring too many");
    test_require(strstr(other.text, "user-ring-bytes"), "%s", other.text);
    raw_settle(&other);                 /* it goes on without */
    raw_close(&raw);
    while (raw_counter(&other, "user-ring-bytes"))
        scene_sleep_ms(1);
    test_require(raw_open_rings(&other, 65536, 65536) == XPURT_SUCCESS, "%s", other.text);
    raw_close(&other);
}

Test(rings, limit_of_a_user)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene_begin(scene, "user-ring-bytes = 200K");
    scene_attack(scene, ring_bytes_of_a_user, 5);
    scene_end(scene);
    free(scene);
}

/* Where it alone keeps the daemon busy, that comes to sleep on a word of its ring: sent to another word,
 * where nobody wakes it, it still serves others, and leaves. */
Test(rings, requeued_sleeper)
{
    static _Atomic uint32_t elsewhere;
    struct test_daemon daemon;
    struct raw raw, other;
    _Atomic uint32_t *asleep;
    long moved = 0;

    test_daemon_start(&daemon, NULL);
    raw_open(&raw, daemon.socket);
    test_require(raw_open_rings(&raw, 0, 0) == XPURT_SUCCESS, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    asleep = &raw.rings.to_daemon.shared->asleep;
    for (unsigned tries = 0; moved <= 0; tries++) {
        test_require(tries < 20000, "the daemon never sleeps there");
        raw_record(&raw, 0);
        usleep(500);
        if (atomic_load(asleep) == RING_DOZING)
            moved = syscall(SYS_futex, asleep, FUTEX_REQUEUE, 0, 1000, &elsewhere, 0);
    }
    raw_open(&other, daemon.socket);
    raw_close(&other);
    raw_close(&raw);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
}
