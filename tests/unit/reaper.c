/* SPDX-License-Identifier: MIT */
/* tests/unit/reaper.c: the completion thread and streams that have nothing for it. */
#include "daemon/reaper.h"
#include "daemon/stream.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(reaper, .timeout = 60);

static void on_noticed(struct stream *stream)
{
    cr_assert_fail("stream %p has nothing to notice", (void *)stream);
}

/* The thread may have seen the markers before it was told to watch: it does not look again, or the
 * stream could never be freed. */
Test(reaper, nothing_unfinished_is_not_watched)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    struct reaper *reaper;
    uv_loop_t loop;

    cr_assert_not_null(stream);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(reaper_new(&loop, on_noticed, &reaper), 0);
    cr_assert_not(reaper_knows(reaper, stream));
    atomic_store(&stream->head, 5);
    atomic_store(&stream->done, 5);
    reaper_watch(reaper, stream);
    cr_assert_not(reaper_knows(reaper, stream));

    reaper_stop(reaper);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    reaper_free(reaper);
    free(stream);
}

/* Stopped while it sleeps, and at once. */
Test(reaper, starts_and_stops)
{
    for (int i = 0; i < 100; i++) {
        struct reaper *reaper;
        uv_loop_t loop;

        cr_assert_eq(uv_loop_init(&loop), 0);
        cr_assert_eq(reaper_new(&loop, on_noticed, &reaper), 0);
        reaper_stop(reaper);
        uv_run(&loop, UV_RUN_DEFAULT);
        cr_assert_eq(uv_loop_close(&loop), 0);
        reaper_free(reaper);
    }
}
