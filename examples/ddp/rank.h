/* SPDX-License-Identifier: MIT */
/* examples/ddp/rank.h: what a process that trains does. */
#pragma once

#include "team.h"

#include "../problem.h"

/* The life of rank @p me. */
enum status rank_run(struct team *team, unsigned me);
