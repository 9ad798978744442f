/* SPDX-License-Identifier: MIT */
/* The API where no daemon answers. */
#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void no_daemon(void)
{
    unsetenv("XPURT_SOCKET");
    setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1);
}

TestSuite(offline, .init = no_daemon);

Test(offline, results_have_names_and_sentences)
{
    cr_assert_str_eq(xpurt_result_name(XPURT_ERROR_PEER_LOST), "XPURT_ERROR_PEER_LOST");
    cr_assert_str_eq(xpurt_result_name(XPURT_SUCCESS), "XPURT_SUCCESS");
    cr_assert_str_eq(xpurt_result_name((xpurt_result)7), "unknown result");
    cr_assert_str_eq(xpurt_result_string((xpurt_result)-3), "unknown result");
    for (int i = 0; i < 128; i++)
        cr_assert(xpurt_result_string((xpurt_result)i)[0]);
    cr_assert_str_eq(xpurt_version(), "0.1.0");
}

Test(offline, parity_L3_error_lists_the_sockets)
{
    cr_assert_str_empty(xpurt_last_error());
    cr_assert_eq(xpurt_init(), XPURT_ERROR_NO_DAEMON);
    cr_assert(strstr(xpurt_last_error(), "/nowhere/at/all/xpurtd.sock (No such file"));
    cr_assert(strstr(xpurt_last_error(), "/run/xpurtd/xpurtd.sock"));
    cr_assert_not(xpurt_is_initialized());

    setenv("XPURT_SOCKET", "/nowhere/else", 1);
    cr_assert_eq(xpurt_init(), XPURT_ERROR_NO_DAEMON);
    cr_assert(strstr(xpurt_last_error(), "/nowhere/else"));
    cr_assert_null(strstr(xpurt_last_error(), "xpurtd.sock"));
}

Test(offline, a_path_too_long_is_an_error_not_another_path)
{
    char path[180];

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    setenv("XPURT_SOCKET", path, 1);
    cr_assert_eq(xpurt_init(), XPURT_ERROR_NO_DAEMON);
    cr_assert(strstr(xpurt_last_error(), "too long"));
}

Test(offline, parity_D1_count_never_fails)
{
    cr_assert_eq(xpurt_device_count(), 0);
    cr_assert_eq(xpurt_device_count(), 0);
}

Test(offline, parity_D2_current_device_without_a_daemon)
{
    cr_assert_eq(xpurt_get_device(), 0);
    cr_assert_eq(xpurt_set_device(-1), XPURT_SUCCESS);
    cr_assert_eq(xpurt_set_device(1), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_exchange_device(-2), -1);
    cr_assert_eq(xpurt_exchange_device(1), -1);
    cr_assert_eq(xpurt_get_device(), 0);
}

Test(offline, what_needs_a_daemon_says_so)
{
    xpurt_device_properties properties;
    xpurt_stream *stream = NULL;
    xpurt_event *event = NULL;
    xpurt_event_handle handle = { { 0 } };
    void *memory = NULL;
    size_t count;

    cr_assert_eq(xpurt_stream_create(&stream), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_event_create(0, &event), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_event_open_ipc_handle(&handle, &event), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_malloc(&memory, 1), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_host_malloc(&memory, 1), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_device_get_properties(0, &properties), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_device_synchronize(0), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_batch_begin(), XPURT_ERROR_NO_DAEMON);
    cr_assert_eq(xpurt_daemon_counters(0, NULL, &count), XPURT_ERROR_NO_DAEMON);
    cr_assert_null(stream);
    cr_assert_null(event);
    cr_assert_null(memory);
}

Test(offline, null_arguments)
{
    int number;

    cr_assert_eq(xpurt_stream_create(NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_event_create(0, NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_event_query(NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_event_record(NULL, NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_event_open_ipc_handle(NULL, NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_stream_query(NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_stream_get_device(NULL, &number), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_malloc(NULL, 1), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_device_get_properties(0, NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_memcpy_async(&number, &number, 1, NULL), XPURT_ERROR_INVALID_ARGUMENT);
    cr_assert_eq(xpurt_daemon_counters(3, NULL, NULL), XPURT_ERROR_INVALID_ARGUMENT);
}

/* Nothing of this needs a daemon. */
Test(offline, no_ops)
{
    int least = 7, greatest = 7;
    void *memory = &least;

    cr_assert_eq(xpurt_stream_destroy(NULL), XPURT_SUCCESS);
    cr_assert_eq(xpurt_event_destroy(NULL), XPURT_SUCCESS);
    cr_assert_eq(xpurt_free(NULL), XPURT_SUCCESS);
    cr_assert_eq(xpurt_host_free(NULL), XPURT_SUCCESS);
    cr_assert_eq(xpurt_mem_close_ipc_handle(NULL), XPURT_SUCCESS);
    cr_assert_eq(xpurt_malloc(&memory, 0), XPURT_SUCCESS);
    cr_assert_null(memory);
    cr_assert_eq(xpurt_reset(), XPURT_SUCCESS);
    cr_assert_not(xpurt_host_is_pinned(&least));
    cr_assert_not(xpurt_host_is_pinned(NULL));
    cr_assert_eq(xpurt_stream_priority_range(&least, &greatest), XPURT_SUCCESS);
    cr_assert_eq(least, 1);
    cr_assert_eq(greatest, -1);
    cr_assert_eq(xpurt_batch_end(), XPURT_ERROR_INVALID_ARGUMENT);
}

Test(offline, foreign_handles)
{
    static uint64_t words[64];
    xpurt_event *event = (xpurt_event *)(void *)words;
    xpurt_stream *stream = (xpurt_stream *)(void *)words;

    cr_assert_eq(xpurt_event_query(event), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(xpurt_event_destroy(event), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(xpurt_event_synchronize(event), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(xpurt_stream_query(stream), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(xpurt_stream_destroy(stream), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(xpurt_event_query((xpurt_event *)(uintptr_t)1), XPURT_ERROR_INVALID_HANDLE);
}
