/* SPDX-License-Identifier: MIT */
/* Events and memory of one process in another. Handles travel over a socket with their descriptor,
 * which the receiver puts in place of the number in them.
 */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EVENTS 64
#define BYTES 65536

TestSuite(process);

/* What the exporter made and the importer opened; the same events and memory. */
struct side {
    ze_event_pool_handle_t pool;
    ze_event_handle_t events[EVENTS];
    uint32_t *memory;
    ze_command_list_handle_t list;
};

static void events_make(struct side *side)
{
    for (uint32_t i = 0; i < EVENTS; i++)
        side->events[i] = soft_event(side->pool, i);
}

static void side_export(struct side *side, ze_memory_type_t kind)
{
    soft_open();
    side->pool = soft_pool(EVENTS, ZE_EVENT_POOL_FLAG_IPC);
    events_make(side);
    side->memory = soft_alloc(kind, BYTES);
    side->list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
}

static void side_send(const struct side *side, int channel)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;

    REQUIRE_ZE(zeEventPoolGetIpcHandle(side->pool, &pool_handle));
    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, side->memory, &memory_handle));
    soft_send_handle(channel, &pool_handle);
    soft_send_handle(channel, &memory_handle);
}

/* The driver consumes the descriptor of a pool, and not that of memory. */
static void side_receive(struct side *side, int channel)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    void *memory;

    soft_open();
    soft_receive_handle(channel, &pool_handle);
    soft_receive_handle(channel, &memory_handle);
    REQUIRE_ZE(zeEventPoolOpenIpcHandle(soft.context, pool_handle, &side->pool));
    REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, memory_handle, 0, &memory));
    test_require(close(soft_handle_fd(&memory_handle)) == 0, "the driver took the descriptor");
    side->memory = memory;
    events_make(side);
    side->list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
}

static void side_release(struct side *side, bool imported)
{
    REQUIRE_ZE(zeCommandListDestroy(side->list));
    for (uint32_t i = 0; i < EVENTS; i++)
        REQUIRE_ZE(zeEventDestroy(side->events[i]));
    if (imported) {
        REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, side->memory));
        REQUIRE_ZE(zeEventPoolCloseIpcHandle(side->pool));
    } else {
        soft_free(side->memory);
        REQUIRE_ZE(zeEventPoolDestroy(side->pool));
    }
    soft_close();
}

/* ---- both directions ------------------------------------------------------------------------- */

static void body_both_directions(int channel, void *unused)
{
    struct side side;

    (void)unused;
    side_receive(&side, channel);
    REQUIRE_ZE(zeEventQueryStatus(side.events[0])); /* importing resets nothing */
    REQUIRE_CODE(ZE_RESULT_NOT_READY, zeEventQueryStatus(side.events[1]));
    test_require(side.memory[0] == 1, "the owner's write is not seen");
    side.memory[1] = 2;
    REQUIRE_ZE(zeEventHostSignal(side.events[1]));

    REQUIRE_ZE(zeEventHostSynchronize(side.events[2], FOREVER)); /* by the other's device */
    REQUIRE_ZE(zeCommandListAppendSignalEvent(side.list, side.events[3]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[4], FOREVER));
    REQUIRE_ZE(zeEventHostReset(side.events[4]));
    REQUIRE_ZE(zeEventHostSignal(side.events[5]));
    test_await(channel);
    side_release(&side, true);
}

static void both_directions(ze_memory_type_t kind)
{
    struct test_peer peer;
    struct side side;

    test_peer_start(&peer, body_both_directions, NULL);
    side_export(&side, kind);
    side.memory[0] = 1;
    REQUIRE_ZE(zeEventHostSignal(side.events[0]));
    side_send(&side, peer.channel);
    REQUIRE_ZE(zeEventHostSynchronize(side.events[1], FOREVER));
    cr_assert_eq(side.memory[1], 2);
    REQUIRE_ZE(zeCommandListAppendSignalEvent(side.list, side.events[2]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[3], FOREVER));
    REQUIRE_ZE(zeEventHostSignal(side.events[4]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[5], FOREVER));
    cr_assert_eq(zeEventQueryStatus(side.events[4]), ZE_RESULT_NOT_READY, "reset by the other");
    test_pass(peer.channel);
    test_peer_join(&peer);
    side_release(&side, false);
}

Test(process, device_memory_and_events)
{
    both_directions(ZE_MEMORY_TYPE_DEVICE);
}

Test(process, host_memory_and_events)
{
    both_directions(ZE_MEMORY_TYPE_HOST);
}

Test(process, shared_memory_and_events)
{
    both_directions(ZE_MEMORY_TYPE_SHARED);
}

/* ---- queues that wait for another process ---------------------------------------------------- */

/* A value goes through memory as often as there are events: each side's queue waits for the other's
 * step, adds its own and signals. All is appended before anything runs. */
static void append_steps(struct side *side, uint32_t parity)
{
    for (uint32_t i = parity; i + 1 < EVENTS; i += 2)
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(side->list, &side->memory[i + 1], &side->memory[i],
                                                 4, side->events[i + 1], 1, &side->events[i]));
}

static void body_steps(int channel, void *unused)
{
    struct side side;

    (void)unused;
    side_receive(&side, channel);
    append_steps(&side, 1);
    test_pass(channel);
    soft_finish(side.list);
    test_await(channel);
    side_release(&side, true);
}

Test(process, queues_wait_for_each_other)
{
    struct test_peer peer;
    struct side side;

    test_peer_start(&peer, body_steps, NULL);
    side_export(&side, ZE_MEMORY_TYPE_DEVICE);
    side_send(&side, peer.channel);
    append_steps(&side, 0);
    test_await(peer.channel);
    side.memory[0] = 4711;
    REQUIRE_ZE(zeEventHostSignal(side.events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[EVENTS - 1], FOREVER));
    cr_assert_eq(side.memory[EVENTS - 1], 4711);
    test_pass(peer.channel);
    test_peer_join(&peer);
    side_release(&side, false);
}

/* The same events again and again, with resets between, each side resetting what it received. */
#define ROUNDS 200

static void body_again_and_again(int channel, void *unused)
{
    struct side side;

    (void)unused;
    side_receive(&side, channel);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        REQUIRE_ZE(zeCommandListAppendWaitOnEvents(side.list, 1, &side.events[0]));
        REQUIRE_ZE(zeCommandListAppendEventReset(side.list, side.events[0]));
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(side.list, &side.memory[i + 1], &side.memory[0], 4,
                                                 side.events[1], 0, NULL));
    }
    soft_finish(side.list);
    side_release(&side, true);
}

Test(process, the_same_events_again_and_again)
{
    struct test_peer peer;
    struct side side;

    test_peer_start(&peer, body_again_and_again, NULL);
    side_export(&side, ZE_MEMORY_TYPE_DEVICE);
    side_send(&side, peer.channel);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        REQUIRE_ZE(zeCommandListAppendMemoryFill(side.list, &side.memory[0], &i, 4, 4,
                                                 side.events[0], 0, NULL));
        REQUIRE_ZE(zeEventHostSynchronize(side.events[1], FOREVER));
        cr_assert_eq(side.memory[i + 1], i);
        REQUIRE_ZE(zeEventHostReset(side.events[1]));
    }
    test_peer_join(&peer);
    side_release(&side, false);
}

/* ---- more than two --------------------------------------------------------------------------- */

#define PEERS 3

static void body_one_of_several(int channel, void *number)
{
    uint32_t own = *(const uint32_t *)number;
    struct side side;

    side_receive(&side, channel);
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(side.list, &side.memory[own + 1], &side.memory[own], 4,
                                             side.events[own + 1], 1, &side.events[own]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[PEERS], FOREVER));
    side_release(&side, true);
}

Test(process, three_importers_in_a_row)
{
    struct test_peer peers[PEERS];
    struct side side;

    for (uint32_t i = 0; i < PEERS; i++)
        test_peer_start(&peers[i], body_one_of_several, &i);
    side_export(&side, ZE_MEMORY_TYPE_SHARED);
    for (uint32_t i = PEERS; i-- > 0;)
        side_send(&side, peers[i].channel);
    side.memory[0] = 99;
    REQUIRE_ZE(zeEventHostSignal(side.events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[PEERS], FOREVER));
    cr_assert_eq(side.memory[PEERS], 99);
    for (uint32_t i = 0; i < PEERS; i++)
        test_peer_join(&peers[i]);
    side_release(&side, false);
}

/* ---- the exporter dies ----------------------------------------------------------------------- */

static void body_doomed(int channel, void *unused)
{
    struct side side;

    (void)unused;
    side_export(&side, ZE_MEMORY_TYPE_DEVICE);
    memset(side.memory, 0x21, BYTES);
    REQUIRE_ZE(zeEventHostSignal(side.events[0]));
    side_send(&side, channel);
    for (;;)
        pause();
}

Test(process, what_an_exporter_left_behind_stays_usable)
{
    struct test_peer peer;
    struct side side;

    test_peer_start(&peer, body_doomed, NULL);
    side_receive(&side, peer.channel);
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(side.list, 1, &side.events[1]));
    REQUIRE_ZE(zeCommandListAppendSignalEvent(side.list, side.events[2]));
    test_peer_kill(&peer);
    REQUIRE_ZE(zeEventQueryStatus(side.events[0]));
    cr_assert_eq(side.memory[BYTES / 4 - 1], 0x21212121);
    side.memory[0] = 1;
    cr_assert_eq(zeEventHostSynchronize(side.events[2], SECOND / 20), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(side.events[1]));
    REQUIRE_ZE(zeEventHostSynchronize(side.events[2], FOREVER));
    side_release(&side, true);
}

Test(process, handles_of_the_dead_are_refused)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    ze_event_pool_handle_t pool;
    struct test_peer peer;
    const int none = -1;
    void *memory;

    test_peer_start(&peer, body_doomed, NULL);
    soft_open();
    soft_receive_handle(peer.channel, &pool_handle);
    soft_receive_handle(peer.channel, &memory_handle);
    close(soft_handle_fd(&pool_handle));
    close(soft_handle_fd(&memory_handle));
    memcpy(&pool_handle, &none, sizeof(none));
    memcpy(&memory_handle, &none, sizeof(none));
    test_peer_kill(&peer);
    cr_assert_neq(zeEventPoolOpenIpcHandle(soft.context, pool_handle, &pool), ZE_RESULT_SUCCESS);
    cr_assert_neq(zeMemOpenIpcHandle(soft.context, soft.device, memory_handle, 0, &memory),
                  ZE_RESULT_SUCCESS);
    soft_close();
}

/* ---- without the descriptor ------------------------------------------------------------------ */

static void body_bytes_alone(int channel, void *unused)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;
    ze_result_t result;
    void *memory;

    (void)unused;
    soft_open();
    test_receive(channel, &pool_handle, sizeof(pool_handle));
    test_receive(channel, &memory_handle, sizeof(memory_handle));
    result = zeEventPoolOpenIpcHandle(soft.context, pool_handle, &pool);
    test_send(channel, &result, sizeof(result));
    if (result != ZE_RESULT_SUCCESS)
        return;
    REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, memory_handle, 0, &memory));
    event = soft_event(pool, 0);
    *(uint32_t *)memory = 8;
    REQUIRE_ZE(zeEventHostSignal(event));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolCloseIpcHandle(pool));
    REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, memory));
    soft_close();
}

Test(process, the_bytes_alone_will_do_where_the_system_permits_it)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    ze_result_t result;
    struct test_peer peer;
    struct side side;

    test_peer_start(&peer, body_bytes_alone, NULL);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    side_export(&side, ZE_MEMORY_TYPE_DEVICE);
    REQUIRE_ZE(zeEventPoolGetIpcHandle(side.pool, &pool_handle));
    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, side.memory, &memory_handle));
    test_send(peer.channel, &pool_handle, sizeof(pool_handle));
    test_send(peer.channel, &memory_handle, sizeof(memory_handle));
    test_receive(peer.channel, &result, sizeof(result));
    if (result == ZE_RESULT_SUCCESS) {
        REQUIRE_ZE(zeEventHostSynchronize(side.events[0], FOREVER));
        cr_assert_eq(side.memory[0], 8);
    }
    test_peer_join(&peer);
    side_release(&side, false);
    if (result != ZE_RESULT_SUCCESS)
        cr_skip_test("pidfd_getfd is not permitted here");
}

/* ---- giving back ----------------------------------------------------------------------------- */

Test(process, handles_are_given_back)
{
    ze_result_t (*put_pool)(ze_context_handle_t, ze_ipc_event_pool_handle_t);
    ze_result_t (*put_memory)(ze_context_handle_t, ze_ipc_mem_handle_t);
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    struct side side;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    side_export(&side, ZE_MEMORY_TYPE_DEVICE);
    put_pool = soft_entry("zeEventPoolPutIpcHandle");
    put_memory = soft_entry("zeMemPutIpcHandle");
    REQUIRE_ZE(zeEventPoolGetIpcHandle(side.pool, &pool_handle));
    REQUIRE_ZE(put_pool(soft.context, pool_handle));
    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, side.memory, &memory_handle));
    REQUIRE_ZE(put_memory(soft.context, memory_handle));
    cr_assert_neq(put_memory(soft.context, *(ze_ipc_mem_handle_t *)&pool_handle),
                  ZE_RESULT_SUCCESS);
    side.memory[0] = 1;                 /* still ours */
    REQUIRE_ZE(zeEventHostSignal(side.events[0]));
    side_release(&side, false);
}
