/* SPDX-License-Identifier: MIT */
/* bench/fresh_xpurt.c: a program that links libxpurt only: connect, create a stream, see the first
 * record complete. */
#include "bench/fresh.h"

#include <xpurt/xpurt.h>

static xpurt_result first_record(void)
{
    xpurt_stream *stream;
    xpurt_event *event;
    xpurt_result r;

    r = xpurt_stream_create(&stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_DEFAULT, &event);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(event, stream);
    return r ? r : xpurt_event_synchronize(event);
}

int main(void)
{
    uint64_t begin = fresh_begin();
    xpurt_result r = first_record();

    if (r)
        return fresh_fail("first-record", xpurt_last_error());
    return fresh_tell(begin);
}
