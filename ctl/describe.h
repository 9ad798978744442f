/* SPDX-License-Identifier: MIT */
/* ctl/describe.h: what is told of a view, and in which order. */
#pragma once

#include "ctl/page.h"
#include "ctl/view.h"

#define DESCRIBE_ALL (-1)

/* @p device: tell of that one only; DESCRIBE_ALL: of the daemon, the limits and all devices. */
void describe(struct page *page, const struct view *view, int device);
