/* SPDX-License-Identifier: MIT */
/* Sleeping by a mark (order rule 4): until a record comes, by the mark in a cell, or until a point is
 * reached, by the mark of a timeline.
 *
 * What is checked, over every interleaving of recorders and waiters: no record is slept through. A
 * sleep never ends by itself, so a wake-up that is lost is an invalid end state. The steps are those
 * of cell_store() and generation_step(); the kernel compares the word under the lock of the waker.
 * Those of timeline_wake() and point_wait() are the same: the recorders are the daemon's loop and its
 * reaper, `generation` is the wake word, and what was reached is stored before that is bumped.
 *
 * Each recorder makes so many records; each waiter waits for some of them, in order, whichever it likes.
 *
 * One thing each is broken on purpose by these, and `check` demands that spin finds it:
 *   BREAK_CLEAR   the mark is cleared after the bump
 *   BREAK_AGAIN   the recorder does not look for a mark after the bump
 *   BREAK_LOOK    the waiter does not look again whether its mark is there before it sleeps
 */
#ifndef RECORDERS
#define RECORDERS 2
#endif
#ifndef RECORDS
#define RECORDS   2             /* of each recorder */
#endif
#ifndef WAITERS
#define WAITERS   2
#endif

byte generation;
bool marked;
bool asleep[WAITERS];

proctype recorder()
{
    byte i, k;
    bool waited;

    for (i : 1 .. RECORDS) {
#ifdef BREAK_CLEAR
        generation++;
        waited = marked;
        if :: waited -> marked = false :: else fi;
#else
        waited = marked;
        if :: waited -> marked = false :: else fi;
        generation++;
#ifndef BREAK_AGAIN
        waited = waited || marked;
#endif
#endif
        if
        :: waited -> d_step { for (k : 0 .. WAITERS - 1) { asleep[k] = false } }
        :: else
        fi;
        waited = false
    }
}

proctype waiter(byte me)
{
    byte wanted = 1, seen;

    do
    :: wanted > RECORDERS * RECORDS -> break
    :: else ->
        marked = true;
        seen = generation;
        if
        :: seen >= wanted -> wanted++
        :: seen >= wanted && wanted < RECORDERS * RECORDS -> wanted = wanted + 2
        :: else ->
#ifndef BREAK_LOOK
            if
            :: marked ->
#endif
                if
                :: atomic { generation == seen -> asleep[me] = true }; !asleep[me]
                :: generation != seen
                fi
#ifndef BREAK_LOOK
            :: !marked
            fi
#endif
        fi;
        seen = 0
    od
}

init {
    byte i;

    atomic {
        for (i : 1 .. RECORDERS) { run recorder() }
        for (i : 0 .. WAITERS - 1) { run waiter(i) }
    }
}
