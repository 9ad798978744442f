/* SPDX-License-Identifier: MIT */
/* tests/stress/bytes.c: two threads at the ends of a ring.
 *
 *      bytes [FRAMES]
 *
 * Frames of all sizes, numbered, go one way; nothing spins: who finds nothing sleeps, the consumer
 * on its bell, the producer on the room word. A frame that is torn, lost or slept through shows.
 * Under the thread sanitizer so does an order that is too weak.
 */
#include "proto/ring.h"
#include "tests/support/peer.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE RING_SIZE_MIN
#define BOUND_NS UINT64_C(20000000000)

static uint64_t frames = 300000;
static int bell;
static uint64_t rung, slept;

/* A number, as often as it says; in one mapping for both threads, so that the sanitizer sees that
 * they mean the same bytes. */
static struct rings rings;

static uint32_t words_of(uint64_t n)
{
    return 1 + (uint32_t)(n * 2654435761u >> 7) % (n % 64 ? 12 : 1000);
}

static void *produce(void *data)
{
    struct ring ring = rings.to_daemon;

    (void)data;
    for (uint64_t n = 0; n < frames; n++) {
        uint32_t words = words_of(n);
        int room;

        while ((room = ring_room(&ring, words * sizeof(n))) == 0) {
            slept++;
            test_require(ring_await_room(&ring, words * sizeof(n), BOUND_NS) == 0, "room");
        }
        test_require(room > 0, "the head is wild");
        for (uint32_t i = 0; i < words; i++)
            memcpy(ring_at(&ring, ring.position + i * sizeof(n)), &n, sizeof(n));
        if (ring_publish(&ring, words * sizeof(n))) {
            rung++;
            (void)eventfd_write(bell, 1);
        }
    }
    return NULL;
}

static void consume(void)
{
    struct ring ring = rings.to_daemon;
    eventfd_t count;

    for (uint64_t n = 0; n < frames;) {
        size_t size;

        test_require(ring_look(&ring, &size) == 0, "the tail is wild");
        if (!size && ring_sleep(&ring)) {
            struct pollfd pollfd = { .fd = bell, .events = POLLIN };

            test_require(poll(&pollfd, 1, (int)(BOUND_NS / 1000000)) == 1,
                         "frame %llu is slept "
                         "through",
                         (unsigned long long)n);
            (void)eventfd_read(bell, &count);
            ring_rouse(&ring);
        }
        while (size) {
            size_t bytes = words_of(n) * sizeof(n);

            test_require(bytes <= size, "frame %llu is torn", (unsigned long long)n);
            for (size_t i = 0; i < bytes; i += sizeof(n))
                test_require(memcmp(ring_at(&ring, ring.position + i), &n, sizeof(n)) == 0,
                             "frame %llu is wrong", (unsigned long long)n);
            ring_consume(&ring, bytes);
            size -= bytes;
            n++;
        }
    }
}

int main(int argc, char **argv)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    pthread_t thread;

    if (argc > 1)
        frames = strtoull(argv[1], NULL, 10);
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    test_require(bell >= 0 && fd >= 0 && ftruncate(fd, (off_t)rings_bytes(SIZE, SIZE)) == 0 &&
                     rings_map(fd, SIZE, SIZE, &rings) == 0,
                 "no ring");
    close(fd);
    test_require(pthread_create(&thread, NULL, produce, NULL) == 0, "a thread");
    consume();
    pthread_join(thread, NULL);
    printf("%llu frames, the bell rang %llu times, the ring was full %llu times\n",
           (unsigned long long)frames, (unsigned long long)rung, (unsigned long long)slept);
    rings_unmap(&rings);
    close(bell);
    return 0;
}
