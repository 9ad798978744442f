/* SPDX-License-Identifier: MIT */
/* fault.c: failures on request, for the tests of programs that use the device.
 *
 * Guarantees of this file:
 *   - nothing happens unless ZE_SOFT_FAULT asks for it, and then exactly what it asks for: counts
 *     are exact over all threads, probabilities come from the seed given;
 *   - a text that cannot be understood is reported on stderr and ignored as a whole rule.
 */
#include "fault.h"

#include "device.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define RULES_MAX 32

enum kind { RULE_CALL, RULE_LOST, RULE_HANG, RULE_DELAY, RULE_MEMORY };

struct rule {
    enum kind kind;
    char name[80];                      /* function or operation; empty: any */
    uint64_t nth;                       /* this one (once) ... */
    bool every;                         /* ... or each such */
    double probability;                 /* or this, when > 0 */
    ze_result_t code;
    uint32_t device;
    uint64_t amount;                    /* ns or bytes */
    char path[160];                     /* what ends a hang when it exists */
    _Atomic uint64_t count, random;
};

bool fault_armed;
static struct rule rules[RULES_MAX];
static size_t rule_count;

static const struct {
    const char *name;
    ze_result_t code;
} codes[] = {
#define CODE(name) { #name, ZE_RESULT_ERROR_##name }
    { "NOT_READY", ZE_RESULT_NOT_READY },
    CODE(DEVICE_LOST),
    CODE(OUT_OF_HOST_MEMORY),
    CODE(OUT_OF_DEVICE_MEMORY),
    CODE(MODULE_BUILD_FAILURE),
    CODE(MODULE_LINK_FAILURE),
    CODE(INSUFFICIENT_PERMISSIONS),
    CODE(NOT_AVAILABLE),
    CODE(DEPENDENCY_UNAVAILABLE),
    CODE(UNINITIALIZED),
    CODE(UNSUPPORTED_VERSION),
    CODE(UNSUPPORTED_FEATURE),
    CODE(INVALID_ARGUMENT),
    CODE(INVALID_SIZE),
    CODE(UNSUPPORTED_SIZE),
    CODE(UNSUPPORTED_ALIGNMENT),
    CODE(INVALID_SYNCHRONIZATION_OBJECT),
    CODE(INVALID_ENUMERATION),
    CODE(UNKNOWN),
#undef CODE
};

static bool parse_code(const char *text, ze_result_t *ret_code)
{
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        if (strcasecmp(text, codes[i].name) == 0) {
            *ret_code = codes[i].code;
            return true;
        }
    }
    return false;
}

/* "3": the third; "/3": every third; "p0.5" or "p0.5@7": with a probability and a seed. */
static bool parse_when(const char *text, struct rule *rule)
{
    char *end;

    if (*text == 'p') {
        rule->probability = strtod(text + 1, &end);
        atomic_init(&rule->random, *end == '@' ? strtoull(end + 1, &end, 10) : 1);
        return rule->probability > 0 && *end == '\0';
    }
    rule->every = *text == '/';
    rule->nth = strtoull(text + rule->every, &end, 10);
    return rule->nth > 0 && *end == '\0';
}

static bool parse_amount(const char *text, uint64_t *ret_amount)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = { { "", 1 },           { "ns", 1 },       { "us", 1000 },    { "ms", 1000000 },
                  { "s", 1000000000 }, { "K", 1u << 10 }, { "M", 1u << 20 }, { "G", 1u << 30 } };
    char *end;
    uint64_t amount = strtoull(text, &end, 10);

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ret_amount = amount * units[i].factor;
            return end != text;
        }
    }
    return false;
}

static bool copy_text(char *to, size_t size, const char *from)
{
    return (size_t)snprintf(to, size, "%s", strcmp(from, "*") == 0 ? "" : from) < size;
}

/* One rule, its fields separated by ':'. */
static bool parse_rule(char *text, struct rule *rule)
{
    char *fields[4] = { NULL }, *save = NULL;
    size_t count = 0;

    for (char *field = strtok_r(text, ":", &save); field; field = strtok_r(NULL, ":", &save)) {
        if (count == ARRAY_SIZE(fields))
            return false;
        fields[count++] = field;
    }
    if (count == 4 && strcmp(fields[0], "call") == 0) {
        rule->kind = RULE_CALL;
        return copy_text(rule->name, sizeof(rule->name), fields[1]) &&
               parse_when(fields[2], rule) && parse_code(fields[3], &rule->code);
    }
    if (count == 3 && strcmp(fields[0], "lost") == 0) {
        rule->kind = RULE_LOST;
        rule->device = (uint32_t)strtoul(fields[1], NULL, 10);
        return parse_when(fields[2], rule);
    }
    if (count == 4 && strcmp(fields[0], "hang") == 0) {
        rule->kind = RULE_HANG;
        return copy_text(rule->name, sizeof(rule->name), fields[1]) &&
               parse_when(fields[2], rule) && copy_text(rule->path, sizeof(rule->path), fields[3]);
    }
    if (count == 4 && strcmp(fields[0], "delay") == 0) {
        rule->kind = RULE_DELAY;
        return copy_text(rule->name, sizeof(rule->name), fields[1]) &&
               parse_when(fields[2], rule) && parse_amount(fields[3], &rule->amount);
    }
    if (count == 2 && strcmp(fields[0], "memory") == 0) {
        rule->kind = RULE_MEMORY;
        return parse_amount(fields[1], &rule->amount) && rule->amount > 0;
    }
    return false;
}

void fault_configure(const char *text)
{
    char *copy = text ? strdup(text) : NULL, *save = NULL;

    rule_count = 0;
    memset(rules, 0, sizeof(rules));
    for (char *part = copy ? strtok_r(copy, ";", &save) : NULL; part && rule_count < RULES_MAX;
         part = strtok_r(NULL, ";", &save)) {
        char *given = strdup(part);

        if (parse_rule(part, &rules[rule_count]))
            rule_count++;
        else
            fprintf(stderr, "ze_soft: ZE_SOFT_FAULT: cannot understand \"%s\"\n",
                    given ? given : "");
        free(given);
    }
    free(copy);
    fault_armed = rule_count > 0;
}

static uint64_t next_random(struct rule *rule)
{
    uint64_t z = atomic_fetch_add(&rule->random, 0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool rule_hits(struct rule *rule)
{
    uint64_t count = atomic_fetch_add(&rule->count, 1) + 1;

    if (rule->probability > 0)
        return (double)(next_random(rule) >> 11) * 0x1p-53 < rule->probability;
    return rule->every ? count % rule->nth == 0 : count == rule->nth;
}

ze_result_t fault_call(const char *function)
{
    ze_result_t result = ZE_RESULT_SUCCESS;

    for (struct rule *rule = rules; rule < rules + rule_count; rule++)
        if (rule->kind == RULE_CALL && (!*rule->name || strcmp(rule->name, function) == 0) &&
            rule_hits(rule))
            result = rule->code;
    return result;
}

static void sleep_ns(uint64_t ns)
{
    struct timespec time = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

bool fault_command_begin(ze_device_handle_t device, const char *operation)
{
    atomic_fetch_add(&device->running, 1);
    for (struct rule *rule = rules; rule < rules + rule_count; rule++) {
        bool named = !*rule->name || strcmp(rule->name, operation) == 0;

        if (rule->kind == RULE_LOST && rule->device == device->index && rule_hits(rule))
            atomic_store(&device->losing, true);
        if (rule->kind == RULE_DELAY && named && rule_hits(rule))
            sleep_ns(rule->amount);
        if (rule->kind == RULE_HANG && named && rule_hits(rule))
            while (access(rule->path, F_OK) != 0 && !atomic_load(&device->losing))
                sleep_ns(1000000);
    }
    return !atomic_load(&device->losing);
}

void fault_command_end(ze_device_handle_t device)
{
    if (atomic_fetch_sub(&device->running, 1) == 1 && atomic_load(&device->losing))
        atomic_store(&device->lost, true);
}

uint64_t fault_memory_limit(void)
{
    for (struct rule *rule = rules; rule < rules + rule_count; rule++)
        if (rule->kind == RULE_MEMORY)
            return rule->amount;
    return 0;
}
