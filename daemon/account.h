/* SPDX-License-Identifier: MIT */
/* daemon/account.h: how much device memory each process has, and may have. */
#pragma once

#include "daemon/allocator.h"
#include "proto/magazine.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct session;
struct user;

struct account_device {
    uint64_t bytes;                     /* of blocks allocated, and of those not finished */
    uint64_t limit;                     /* of them */
    uint64_t retries, ooms;
};

/* Of one session; outlives it while work uses its blocks. */
struct account {
    unsigned refs;
    struct account *prev, *next;        /* of the user */
    struct user *user;                  /* borrowed: a block holds a slab, that holds the user */
    struct session *session;            /* borrowed; NULL: gone */
    pid_t pid;
    char name[64];
    struct magazine_page *page;         /* borrowed: of the session's magazine; NULL: none */
    struct account_device devices[];
};

/* The session's account; made when it first has memory. NULL: no memory. */
struct account *account_get(struct session *session);
void account_unref(struct account *account);

/* The session is gone. */
void account_orphan(struct account *account);

/* The block is the account's from now on. */
void account_charge(struct account *account, struct block *block);

/* Its owner's free is done with, or it belongs to others now. */
void account_finish(struct block *block);

/* The same where the owner knows already. */
void account_drop(struct block *block);
