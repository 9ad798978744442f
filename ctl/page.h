/* SPDX-License-Identifier: MIT */
/* ctl/page.h: what is printed, as text or as JSON, by the same calls.
 *
 * Every line has a label. In JSON it becomes the name: small letters, "_" for what lies between
 * words ("Driver version": "driver_version"); numbers are numbers, in bytes where text has units.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

#define PAGE_DEPTH_MAX 8

struct page {
    bool json;
    unsigned depth;
    struct json_object *open[PAGE_DEPTH_MAX]; /* borrowed from their parents; the first is owned */
};

void page_begin(struct page *page, bool json);

/* Print what was collected, if it was. False: it could not be written whole. */
bool page_end(struct page *page);

/* Sections. Those of a list have a title of their own in text, and no name in JSON. */
void page_section(struct page *page, const char *label);
void page_list(struct page *page, const char *label);
void page_item(struct page *page, const char *title);
void page_leave(struct page *page);

void page_text(struct page *page, const char *label, const char *value);
void page_number(struct page *page, const char *label, uint64_t value, const char *unit);
void page_signed(struct page *page, const char *label, int value);
void page_bytes(struct page *page, const char *label, uint64_t value);
void page_flag(struct page *page, const char *label, bool value);
void page_hex(struct page *page, const char *label, uint32_t value);
void page_numbers(struct page *page, const char *label, const uint32_t *values, size_t count);

/* "none" in text, null in JSON. */
void page_none(struct page *page, const char *label);
