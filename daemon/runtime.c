/* SPDX-License-Identifier: MIT */
/* daemon/runtime.c: what sessions share, and the end of each round of commands.
 *
 * Guarantees of this file: after runtime_settle() no stream can run on without a further command
 * or notice, each published timeline was woken once, and a marker covers all work on the GPU.
 */
#include "daemon/runtime.h"
#include "daemon/native.h"
#include "daemon/stream.h"
#include "proto/hot.h"

#include <assert.h>
#include <string.h>

static void on_noticed(struct stream *stream)
{
    struct runtime *runtime = stream->runtime;

    stream_noticed(stream);
    runtime_settle(runtime);
}

#define RETRY_MS 100

static void on_retry(uv_timer_t *timer)
{
    struct runtime *runtime = timer->data;

    streams_touch(runtime);
    runtime_settle(runtime);
}

void runtime_retry(struct runtime *runtime)
{
    if (uv_is_active((uv_handle_t *)&runtime->retry))
        return;
    uv_update_time(runtime->loop);      /* it stands while bells are told */
    uv_timer_start(&runtime->retry, on_retry, RETRY_MS, 0);
}

int runtime_init(struct runtime *runtime, struct gpu *gpu, const struct limits *limits,
                 uv_loop_t *loop)
{
    int r;

    memset(runtime, 0, sizeof(*runtime));
    runtime->gpu = gpu;
    runtime->limits = limits;
    runtime->loop = loop;
    r = hash_init();
    if (r == 0)
        r = broker_init(&runtime->broker);
    if (r < 0)
        return r;
    board_table_init(&runtime->boards, runtime->broker.instance);
    r = reaper_new(loop, on_noticed, &runtime->reaper);
    if (r < 0)
        return r;
    uv_timer_init(loop, &runtime->retry);
    runtime->retry.data = runtime;
    return 0;
}

void runtime_close(struct runtime *runtime)
{
    reaper_stop(runtime->reaper);
    uv_close((uv_handle_t *)&runtime->retry, NULL);
}

void runtime_deinit(struct runtime *runtime)
{
    assert(!runtime->users && !runtime->waiters);
    broker_deinit(&runtime->broker);
    stock_deinit(&runtime->spare_dependences);
    stock_deinit(&runtime->spare_launches);
    stock_deinit(&runtime->spare_works);
    reaper_free(runtime->reaper);
}

HOT void runtime_settle(struct runtime *runtime)
{
    struct stream *stream;

    /* A stream that runs on may submit what another one waits for; one that cannot be finished
     * fails, and those who wait for it run on. */
    while (runtime->resumed || runtime->touched) {
        while ((stream = runtime->resumed)) {
            runtime->resumed = stream->next_resumed;
            stream->resumed = false;
            stream_run(stream);
        }
        if ((stream = runtime->touched)) {
            runtime->touched = stream->next_touched;
            stream->touched = false;
            stream_finish(stream);
        }
    }
    native_settle(runtime);
}
