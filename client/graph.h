/* SPDX-License-Identifier: MIT */
/* client/graph.h: graphs as streams and events use them. The lock is held. */
#pragma once

#include "client/session.h"

#include <xpurt/event.h>
#include <xpurt/graph.h>

/* A command of the stream was sent, and is part of the graph. */
void graph_count(xpurt_graph *graph);

/* Send a record, or a wait, of @p event on the stream that is captured. */
xpurt_result graph_record(xpurt_graph *graph, xpurt_event *event, uint64_t stamp);
xpurt_result graph_wait(xpurt_graph *graph, xpurt_event *event);

/* The stream goes before its graph is whole. NULL is a no-op. */
void graph_discard(xpurt_graph *graph);

/* The session ends: its graphs are of no use any more; after a reset not even live. */
void graphs_end(enum session_end why);
