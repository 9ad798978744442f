/* SPDX-License-Identifier: MIT */
/* daemon/reaper.h: the completion thread. It looks at markers, publishes what was reached, and
 * never appends. Streams with unfinished markers are watched; with none it sleeps. */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct reaper;
struct stream;

/* @p noticed is called on the loop thread for each stream whose `notify` was set and whose markers
 * went on. */
int reaper_new(uv_loop_t *loop, void (*noticed)(struct stream *stream), struct reaper **ret_reaper);

/* Stop the thread. The handle in the loop is closed; run the loop until it is before freeing. */
void reaper_stop(struct reaper *reaper);
void reaper_free(struct reaper *reaper);

/* Watch the stream: to be called after markers were pushed. */
void reaper_watch(struct reaper *reaper, struct stream *stream);

/* To be called before commands are run. A client sends a command because it saw an earlier one done;
 * that order goes through its process, where no thread of ours has taken part in it. */
void reaper_observe(struct reaper *reaper);

/* Whether the reaper or its notices may still look at the stream. */
bool reaper_knows(struct reaper *reaper, struct stream *stream);
