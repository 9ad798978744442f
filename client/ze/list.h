/* SPDX-License-Identifier: MIT */
/* client/ze/list.h: what libxpurt calls back. */
#pragma once

#include "client/private.h"

extern const struct xpurtp_backend list_backend;
