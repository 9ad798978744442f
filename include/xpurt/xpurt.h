/* SPDX-License-Identifier: MIT */
/**
 * @file xpurt.h
 * The public C API of libxpurt: everything.
 *
 * A worker process links libxpurt and talks to the xpurtd daemon, which owns the GPUs. Nothing here
 * connects before the first call that needs a device. Every function may be called from any thread.
 * After fork() the child gets a session of its own at its first call; events made before the fork
 * go on working in both processes, streams belong to the process that made them.
 *
 * Errors are return values; xpurt_last_error() gives the sentence that explains the last one of
 * the calling thread. Out-parameters are untouched on failure.
 */
#ifndef XPURT_XPURT_H
#define XPURT_XPURT_H

#include <xpurt/allocator.h>
#include <xpurt/base.h>
#include <xpurt/device.h>
#include <xpurt/event.h>
#include <xpurt/generator.h>
#include <xpurt/graph.h>
#include <xpurt/guard.h>
#include <xpurt/memory.h>
#include <xpurt/module.h>
#include <xpurt/stream.h>

#endif
