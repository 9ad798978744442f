/* SPDX-License-Identifier: MIT */
/* ctl/page.c: see page.h.
 *
 * Guarantees of this file: JSON is printed whole or not at all; what could not be written is not
 * passed over in silence.
 */
#include "ctl/page.h"

#include <ctype.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#define INDENT 4
#define VALUE_COLUMN 36
#define NAME_MAX_SIZE 64

static json_object *needed(json_object *object)
{
    if (!object) {
        fputs("xpurt-info: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return object;
}

void page_begin(struct page *page, bool json)
{
    *page = (struct page){ .json = json };
    if (json)
        page->open[0] = needed(json_object_new_object());
}

bool page_end(struct page *page)
{
    if (page->json) {
        puts(json_object_to_json_string_ext(page->open[0], JSON_C_TO_STRING_PRETTY |
                                                               JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(page->open[0]);
    }
    return fflush(stdout) == 0 && !ferror(stdout);
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void json_name(const char *label, char ret_name[NAME_MAX_SIZE])
{
    size_t n = 0;

    for (; *label && n < NAME_MAX_SIZE - 1; label++)
        if (isalnum((unsigned char)*label))
            ret_name[n++] = (char)tolower((unsigned char)*label);
        else if (n && ret_name[n - 1] != '_')
            ret_name[n++] = '_';
    ret_name[n] = '\0';
}

/* The page owns @p value from now on. */
static void json_add(struct page *page, const char *label, json_object *value)
{
    json_object *parent = page->open[page->depth];
    char name[NAME_MAX_SIZE];

    if (json_object_is_type(parent, json_type_array)) {
        json_object_array_add(parent, value);
        return;
    }
    json_name(label, name);
    json_object_object_add(parent, name, value);
}

/* ---- sections ------------------------------------------------------------------------------------ */

static void page_enter(struct page *page, const char *label, json_object *section)
{
    if (page->json)
        json_add(page, label, section);
    page->open[++page->depth] = section;
}

void page_section(struct page *page, const char *label)
{
    if (!page->json)
        printf("%*s%s\n", (int)page->depth * INDENT, "", label);
    page_enter(page, label, page->json ? needed(json_object_new_object()) : NULL);
}

void page_list(struct page *page, const char *label)
{
    if (page->json)
        page_enter(page, label, needed(json_object_new_array()));
}

void page_item(struct page *page, const char *title)
{
    page_section(page, title);
}

void page_leave(struct page *page)
{
    if (page->depth)
        page->depth--;
}

/* ---- lines --------------------------------------------------------------------------------------- */

static void text_line(const struct page *page, const char *label, const char *value)
{
    int indent = (int)page->depth * INDENT;

    printf("%*s%-*s: %s\n", indent, "", VALUE_COLUMN - indent, label, value);
}

void page_text(struct page *page, const char *label, const char *value)
{
    if (page->json)
        json_add(page, label, needed(json_object_new_string(value)));
    else
        text_line(page, label, value);
}

void page_number(struct page *page, const char *label, uint64_t value, const char *unit)
{
    char text[64];

    if (page->json) {
        json_add(page, label, needed(json_object_new_uint64(value)));
        return;
    }
    snprintf(text, sizeof(text), "%" PRIu64 "%s%s", value, unit ? " " : "", unit ? unit : "");
    text_line(page, label, text);
}

void page_signed(struct page *page, const char *label, int value)
{
    char text[16];

    if (page->json) {
        json_add(page, label, needed(json_object_new_int(value)));
        return;
    }
    snprintf(text, sizeof(text), "%d", value);
    text_line(page, label, text);
}

void page_bytes(struct page *page, const char *label, uint64_t value)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double amount = (double)value;
    unsigned unit = 0;
    char text[64];

    if (page->json) {
        json_add(page, label, needed(json_object_new_uint64(value)));
        return;
    }
    for (; amount >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1; unit++)
        amount /= 1024;
    snprintf(text, sizeof(text), "%.*f %s", unit && amount != (double)(uint64_t)amount ? 1 : 0,
             amount, units[unit]);
    text_line(page, label, text);
}

void page_flag(struct page *page, const char *label, bool value)
{
    if (page->json)
        json_add(page, label, needed(json_object_new_boolean(value)));
    else
        text_line(page, label, value ? "yes" : "no");
}

void page_hex(struct page *page, const char *label, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "0x%04" PRIx32, value);
    page_text(page, label, text);
}

void page_numbers(struct page *page, const char *label, const uint32_t *values, size_t count)
{
    char text[256] = "";
    size_t length = 0;

    page_list(page, label);
    for (size_t i = 0; i < count; i++)
        if (page->json)
            json_add(page, NULL, needed(json_object_new_uint64(values[i])));
        else if (length < sizeof(text) - 16)
            length += (size_t)sprintf(text + length, "%s%" PRIu32, i ? ", " : "", values[i]);
    if (page->json)
        page_leave(page);
    else
        text_line(page, label, count ? text : "none");
}

void page_none(struct page *page, const char *label)
{
    if (page->json)
        json_add(page, label, NULL);
    else
        text_line(page, label, "none");
}
