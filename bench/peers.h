/* SPDX-License-Identifier: MIT */
/* bench/peers.h: what xpurt is measured against. Each has the shape of a side's measure(). */
#pragma once

#include <stdbool.h>

/* ns of one atomic load of a hot cache line; ns of malloc(64) and free. */
int peer_load(double seconds, double *ret_ns);
int peer_malloc(double seconds, double *ret_ns);

/* A process at the other end of a Unix socket and of two futex words. */
int peer_echo_open(void);
void peer_echo_close(void);

/* Median ns of one byte there and one back; _asleep: after a millisecond in which both slept. */
int peer_socket(double seconds, double *ret_ns);
int peer_socket_asleep(double seconds, double *ret_ns);
int peer_futex(double seconds, double *ret_ns);
int peer_futex_asleep(double seconds, double *ret_ns);

/* ns in the caller of one send(2) of as many bytes as a frame with one Record has, to a process
 * that reads as fast as it can, in bursts as long as ours. */
int peer_send_open(void);
void peer_send_close(void);
int peer_send(double seconds, double *ret_ns);

/* INCR of redis, one client on a Unix socket: requests/s. Skips where redis is not installed. */
int peer_redis_open(void);
void peer_redis_close(void);
#define REDIS_PIPELINE_MAX 256
int peer_redis(unsigned pipeline, double seconds,
               double *ret_per_second);                      /* <= REDIS_PIPELINE_MAX */
int peer_redis_1(double seconds, double *ret_per_second);    /* one request at a time */
int peer_redis_64(double seconds, double *ret_per_second);   /* 64 requests at a time */
int peer_redis_best(double seconds, double *ret_per_second); /* the best of 1, 16, 64 and 256 */

/* GB/s of memcpy of 256 MiB, by one thread and by two with half of it each, of 16 MiB and of 1 KiB. */
int peer_memcpy_256m(double seconds, double *ret_gb_per_second);
int peer_memcpy_256m_2(double seconds, double *ret_gb_per_second);
int peer_memcpy_16m(double seconds, double *ret_gb_per_second);
int peer_memcpy_1k(double seconds, double *ret_gb_per_second);
