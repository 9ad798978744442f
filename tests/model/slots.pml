/* SPDX-License-Identifier: MIT */
/* Native slots: processes that make their own command lists wait for each other on the GPU.
 *
 * A client's stream is its own command list here; the daemon appends nothing to it, and only hears
 * what was appended. A record takes a free slot of the client, appends its signal, says so. A wait
 * guesses the slot of the point (the map is only a hint, so any guess must be safe), pins it, looks
 * whether it still tells for the point, and appends a wait; else it appends a wait for a slot of
 * its own, which the daemon signals when the point is reached: a promise. Only the daemon makes
 * slots free again.
 *
 * What is checked, over every interleaving and every program of a few calls per client:
 *   (a) a slot is reset only when no list of a living process still waits for it or will signal it:
 *       no wait passes early and none hangs, also when the event is recorded again;
 *   (b) a wait passes on the GPU only when the work behind its point is done, or is lost;
 *   (c) a value is published only after all points its work waited for, and never when one of them
 *       is lost;
 *   (d) in the end the lists of all living processes are empty, nothing is pinned, all host waits
 *       are over and every slot is free, also those of the dead.
 *
 * The daemon's two threads are one process whose steps come in any order; cause.pml has the
 * threads. The daemon handles the frames of one client in their order, those of several in any.
 *
 * One thing each is broken on purpose by these, and `check` demands that spin finds it:
 *   BREAK_PIN       the slot is pinned after the look at its point
 *   BREAK_ZERO      the slot's point is not zeroed before the daemon looks at the pins
 *   BREAK_SCAN      the daemon does not look at the pins
 *   BREAK_RETRY     a slot that was pinned is freed when the pin goes, whatever refers to it now
 *   BREAK_CLEAR     the daemon clears the pin before it takes the reference
 *   BREAK_CLAIM     a slot is reclaimed though the record that claimed it was not handled yet
 *   BREAK_OWNER     the owner takes its slot back itself, when its record was reached
 *   BREAK_RESET     the slot is free before it is reset
 *   BREAK_FAIL      slots are signalled before those who depend on them have failed
 *   BREAK_CAUSE     the reaper does not look whether the points waited for were reached
 *   BREAK_SIGNAL    slots of a failed stream are signalled though its process lives
 *   BREAK_DEAD      slots of the dead are not signalled
 *   BREAK_DROP      commands of a failed stream are dropped
 *   BREAK_GHOST     pins of the dead count
 *   BREAK_PROMISE   a promise for a lost point is not kept
 *   BREAK_CELL      the cell is stored before the record was handed to the transport
 */

#ifndef VALUES
#define VALUES 2                /* records of each client */
#endif
#ifndef CALLS0
#define CALLS0 2                /* calls of each client */
#endif
#ifndef CALLS1
#define CALLS1 2
#endif
#ifndef SLOTS
#define SLOTS  2                /* of each client */
#endif
#ifndef VICTIM
#define VICTIM 2                /* who dies: 0 or 1; 2: nobody */
#endif

#define DRAIN    (VALUES + 1)   /* the marker of the stream's end, which has no slot */
#define POINTS   (2 * VALUES)
#define COMMANDS 5

#define POINT(t, v)  ((t) * VALUES + (v))
#define TIMELINE(p)  (((p) - 1) / VALUES)
#define VALUE(p)     (((p) - 1) % VALUES + 1)
#define BIT(n)       (1 << (n))
#define DONE(points, set) (((points) & (set)) == (points))
#define P(p)         TIMELINE(p), VALUE(p)
#define OWNER(n)     ((n) / SLOTS)

/* A command, both on a list and on its way to the daemon: what, slot, point. */
#define RECORD  0
#define WAIT    64
#define PROMISE 128
#define CLOSE   192
#define NOTHING 255
#define KIND(c)  ((c) & 192)
#define SLOT(c)  (((c) >> 3) & 7)
#define WHERE(c) ((c) & 7)
#define COMMAND(kind, n, p) ((kind) + ((n) << 3) + (p))

/* Ends one step and begins the next. */
#define APART }; atomic {

/* ---- Shared memory --------------------------------------------------------------------------- */

typedef native {
    /* On the native board, and the event. */
    bool claimed;
    byte point;
    bool signalled;
    /* The daemon's books. */
    byte uses;
    bool known;                 /* what it was claimed for was handled */
    bool retired;               /* to be freed as soon as nobody looks */
    byte promised               /* to be signalled when this point is reached or lost */
}
native slots[2 * SLOTS];
byte pin[2];                    /* 1 + slot a client looks at */
byte cell[2];
byte completed[2];
bool failed[2];                 /* the status of a timeline */

bool dead[2];
chan fifo[2] = [COMMANDS] of { byte };

/* ---- The GPU --------------------------------------------------------------------------------- */

byte first[2];                  /* command of a list that did not run; the rest: */
chan rest[2] = [COMMANDS] of { byte };
byte executed;                  /* ghost: points whose work is done */
hidden byte unseen, passed, ordered, unpinned, returned;    /* only name their assertions */

/* Ghost: commands on the lists of the living that look at a slot, or will signal it. */
byte looks[4 * SLOTS];
#define LOOKS(c, n) looks[(c) * 2 * SLOTS + (n)]

inline append(s, c)
{
    LOOKS(s, SLOT(c))++;
    if
    :: first[s] -> rest[s]!c
    :: else -> first[s] = c
    fi
}

inline pop(s)
{
    if
    :: nempty(rest[s]) -> rest[s]?first[s]
    :: empty(rest[s]) -> first[s] = 0
    fi
}

#define LOST(p)    (failed[TIMELINE(p)] && !REACHED(p))
#define REACHED(p) (completed[TIMELINE(p)] >= VALUE(p))
#define HOLDS_BACK(c) (KIND(c) && !slots[SLOT(c)].signalled)

proctype gpu(byte s)
{
end:
    do
    :: d_step {
           first[s] && !HOLDS_BACK(first[s]) ->
           if
           :: KIND(first[s]) == RECORD ->
               printf("gpu: runs (%d,%d)\n", P(WHERE(first[s])));
               slots[SLOT(first[s])].signalled = true;
               executed = executed | BIT(WHERE(first[s]))
           :: else ->                           /* (b) */
               printf("gpu: list %d goes on behind (%d,%d)\n", s, P(WHERE(first[s])));
               passed = dead[s] || (executed & BIT(WHERE(first[s]))) || LOST(WHERE(first[s]));
               assert(passed)
           fi;
           LOOKS(s, SLOT(first[s]))--;
           pop(s)
       }
    :: d_step {                                 /* maybe the rest of the dead's list never runs */
           dead[s] && first[s] ->
           do
           :: nempty(rest[s]) -> rest[s]?first[s]
           :: empty(rest[s]) -> break
           od;
           first[s] = 0
       }
    od
}

/* ---- The daemon ------------------------------------------------------------------------------ */

/* Arrays are indexed by a marker's value; [0] is for the next marker. */
typedef stream {
    byte slot[DRAIN + 1];       /* 1 + slot of each marker */
    byte held[DRAIN + 1];       /* slots that the waits in front of the marker look at */
    byte causes[DRAIN + 1];     /* points it must not be published before */
    byte after[DRAIN + 1];      /* ghost: points its work waited for */
    byte pushed;                /* markers: last one; last one seen done; last one given back */
    byte done;
    byte freed;
    bool hung                   /* its hang-up was seen */
}
stream streams[2];

#ifdef BREAK_CLEAR
byte queued[2];
#define NEXT(s)     ((queued[s] || nempty(fifo[s])) && !streams[s].hung)
#define TAKE(s, c)  if :: queued[s] -> c = queued[s] :: else -> fifo[s]?c fi
#else
#define NEXT(s)     (nempty(fifo[s]) && !streams[s].hung)
#define TAKE(s, c)  fifo[s]?c
#endif
#define HANG_UP(s)  (dead[s] && !streams[s].hung)
#define SEEN(points) (!((points) & REST(0)) && !((points) & REST(1)))
/* The points of a timeline that were not reached. */
#define REST(t)     (((BIT(VALUES) - 1) & ~(BIT(completed[t]) - 1)) << POINT(t, 1))
#define COMPLETE(s) (!streams[s].hung && streams[s].done != streams[s].pushed && \
                     (NEXT_SLOT(s) == 0 || slots[NEXT_SLOT(s) - 1].signalled) && \
                     (failed[s] || CAUSES_SEEN(s)))
#define NEXT_SLOT(s) streams[s].slot[streams[s].done + 1]
#ifdef BREAK_CAUSE
#define CAUSES_SEEN(s) true
#else
#define CAUSES_SEEN(s) SEEN(streams[s].causes[streams[s].done + 1])
#endif
#define RECLAIM(s)  (streams[s].freed != streams[s].done)

#ifdef BREAK_GHOST
#define PINS(c, n)  (pin[c] == (n) + 1)
#else
#define PINS(c, n)  (pin[c] == (n) + 1 && !streams[c].hung)
#endif
#ifdef BREAK_SCAN
#define PINNED(n)   false
#else
#define PINNED(n)   (PINS(0, n) || PINS(1, n))
#endif
#ifdef BREAK_RETRY
#define FREE(n)     (slots[n].retired && !PINNED(n))
#else
#define FREE(n)     (slots[n].retired && !slots[n].uses && !PINNED(n))
#endif
#ifdef BREAK_CLAIM
#define KNOWN(n)    true
#else
#define KNOWN(n)    slots[n].known
#endif

/* Signals of the daemon's own. */
#ifdef BREAK_PROMISE
#define KEEP(n)     (slots[n].promised && REACHED(slots[n].promised))
#else
#define KEEP(n)     (slots[n].promised && (REACHED(slots[n].promised) || LOST(slots[n].promised)))
#endif
#if defined BREAK_DEAD
#define OPEN(n)     false
#elif defined BREAK_SIGNAL
#define OPEN(n)     (failed[OWNER(n)] && slots[n].claimed && slots[n].known && \
                     !slots[n].promised && !slots[n].signalled)
#else
#define OPEN(n)     (streams[OWNER(n)].hung && slots[n].claimed && !slots[n].signalled)
#endif

#define PICK(n, ready) \
    if \
    :: ready(0) -> n = 0 \
    :: ready(1) -> n = 1 \
    fi
#if SLOTS == 1
#define PICK_SLOT(n, ready) PICK(n, ready)
#else
#define PICK_SLOT(n, ready) \
    if \
    :: ready(0) -> n = 0 \
    :: ready(1) -> n = 1 \
    :: ready(2) -> n = 2 \
    :: ready(3) -> n = 3 \
    fi
#endif

inline use(n)
{
    slots[n].uses++
}

/* The last one retires the slot. */
inline unuse(n)
{
    slots[n].uses--;
    if
    :: slots[n].uses == 0 && KNOWN(n) ->
        slots[n].retired = true;
#ifndef BREAK_ZERO
        slots[n].point = 0
#endif
    :: else
    fi
}

inline unuse_all(set)
{
    i = 0;
    do
    :: i == 2 * SLOTS -> i = 0; break
    :: else ->
        if
        :: set & BIT(i) -> unuse(i)
        :: else
        fi;
        i++
    od;
    set = 0
}

inline hold(s, n)
{
    if
    :: streams[s].held[0] & BIT(n)
    :: else -> streams[s].held[0] = streams[s].held[0] | BIT(n); use(n)
    fi
}

inline push(s, v, n)
{
    streams[s].slot[v] = n;
    streams[s].held[v] = streams[s].held[0];
    streams[s].causes[v] = streams[s].causes[0];
    streams[s].after[v] = streams[s].after[0];
    streams[s].held[0] = 0;
    streams[s].causes[0] = 0;
    streams[s].after[0] = 0;
    streams[s].pushed = v
}

/* What stream s still waits for. */
#define CAUSES(s)   (streams[s].causes[0] | streams[s].causes[1] | streams[s].causes[VALUES] | \
                     streams[s].causes[DRAIN])
#define PROMISED(s, n, t) (OWNER(n) == s && slots[n].promised && \
                     TIMELINE(slots[n].promised) == t && !REACHED(slots[n].promised))
#if SLOTS == 1
#define DEPENDS(s, t) ((CAUSES(s) & REST(t)) || PROMISED(s, 0, t) || PROMISED(s, 1, t))
#else
#define DEPENDS(s, t) ((CAUSES(s) & REST(t)) || PROMISED(s, 0, t) || PROMISED(s, 1, t) || \
                     PROMISED(s, 2, t) || PROMISED(s, 3, t))
#endif

#define DEPENDENT(s) (failed[1 - (s)] && !failed[s] && DEPENDS(s, 1 - (s)))

/* A stream and those that wait for it. */
inline fail(s)
{
    if
    :: !failed[s] ->
        printf("daemon: stream %d fails\n", s);
        failed[s] = true;
#ifndef BREAK_FAIL
        if
        :: DEPENDENT(1 - s) ->
            printf("daemon: stream %d fails with it\n", 1 - s);
            failed[1 - s] = true
        :: else
        fi
#endif
    :: else
    fi
}

proctype daemon()
{
    byte s, c, n, v, i;

end:
    do
    :: atomic {                                 /* a frame */
           PICK(s, NEXT);
           TAKE(s, c);
#ifdef BREAK_CLEAR
           if
           :: KIND(c) == WAIT && !queued[s] -> pin[s] = 0; queued[s] = c; c = NOTHING
           :: else -> queued[s] = 0
           fi;
#endif
           n = SLOT(c);
#ifdef BREAK_DROP
           if
           :: failed[s] && KIND(c) != CLOSE -> c = NOTHING
           :: else
           fi;
#endif
           if
           :: c == NOTHING
           :: KIND(c) == RECORD ->
               printf("daemon: takes the record (%d,%d), slot %d\n", P(WHERE(c)), n);
               slots[n].known = true;
               use(n);
               push(s, VALUE(WHERE(c)), n + 1)
           :: KIND(c) == WAIT ->
               printf("daemon: takes the wait of %d for (%d,%d), slot %d\n", s, P(WHERE(c)), n);
               hold(s, n);
               streams[s].after[0] = streams[s].after[0] | BIT(WHERE(c));
               if
               :: REACHED(WHERE(c))
               :: else ->
                   streams[s].causes[0] = streams[s].causes[0] | BIT(WHERE(c));
                   if
                   :: LOST(WHERE(c)) -> fail(s)
                   :: else
                   fi
               fi;
               pin[s] = 0
           :: KIND(c) == PROMISE ->
               printf("daemon: takes the wait of %d for (%d,%d), promises slot %d\n", s,
                      P(WHERE(c)), n);
               slots[n].known = true;
               hold(s, n);
               streams[s].after[0] = streams[s].after[0] | BIT(WHERE(c));
               slots[n].promised = WHERE(c);
               if
               :: LOST(WHERE(c)) -> fail(s)
               :: else
               fi
           :: c == CLOSE ->
               push(s, streams[s].pushed + 1, 0);
               v = 0
           fi;
           s = 0; c = 0; n = 0
       }
    :: atomic {                                 /* the reaper */
           PICK(s, COMPLETE);
           streams[s].done++;
           v = streams[s].done;
           if
           :: failed[s] || !streams[s].slot[v]
           :: else ->                           /* (c) */
               printf("reaper: publishes (%d,%d)\n", s, v);
               ordered = DONE(streams[s].after[v], executed) && SEEN(streams[s].after[v]);
               assert(ordered);
               completed[s] = v
           fi;
           s = 0; v = 0
       }
    :: atomic {                                 /* gives back what a marker held */
           PICK(s, RECLAIM);
           d_step {
               streams[s].freed++;
               v = streams[s].freed;
               if
               :: streams[s].slot[v] ->
                   n = streams[s].slot[v] - 1;
                   unuse(n)
               :: else
               fi;
               unuse_all(streams[s].held[v]);
               streams[s].slot[v] = 0;
               streams[s].causes[v] = 0;
               streams[s].after[v] = 0;
               s = 0; v = 0; n = 0
           }
       }
    :: atomic {                                 /* tries to free a slot, (a) */
           PICK_SLOT(n, FREE);
#ifdef BREAK_ZERO
           APART
           slots[n].point = 0;
#endif
           printf("daemon: slot %d is free\n", n);
           unseen = (dead[0] || !LOOKS(0, n)) && (dead[1] || !LOOKS(1, n));
           assert(unseen);
           slots[n].retired = false;
           slots[n].known = false;
           slots[n].promised = 0;
#ifdef BREAK_RESET
           slots[n].claimed = false;
           APART
#endif
           slots[n].signalled = false;
           slots[n].claimed = false;
           n = 0
       }
#ifdef BREAK_FAIL
    :: atomic {
           PICK(s, DEPENDENT);
           printf("daemon: stream %d fails late\n", s);
           failed[s] = true;
           s = 0
       }
#endif
    :: atomic {
           PICK_SLOT(n, KEEP);
           printf("daemon: keeps its promise for slot %d\n", n);
           slots[n].promised = 0;
           slots[n].signalled = true;
           n = 0
       }
    :: atomic {
           PICK_SLOT(n, OPEN);
           printf("daemon: signals slot %d of the dead\n", n);
           slots[n].signalled = true;
           n = 0
       }
    :: atomic {
           PICK(s, HANG_UP);                    /* maybe before the last frames are read */
           printf("daemon: sees the hang-up of %d\n", s);
           streams[s].hung = true;
           do
           :: nempty(fifo[s]) -> fifo[s]?c; c = 0
           :: empty(fifo[s]) -> break
           od;
           fail(s);
           d_step {
               streams[s].done = streams[s].pushed;
               unuse_all(streams[s].held[0]);
               streams[s].causes[0] = 0;
               streams[s].after[0] = 0;
               n = s * SLOTS;                   /* nobody will tell any more what they are for */
               do
               :: n == (s + 1) * SLOTS -> break
               :: else ->
                   slots[n].known = true;
                   slots[n].promised = 0;
                   if
                   :: slots[n].claimed && !slots[n].uses -> use(n); unuse(n)
                   :: else
                   fi;
                   n++
               od;
               s = 0; n = 0
           }
       }
    od
}

/* ---- The clients ----------------------------------------------------------------------------- */

chan buffer[2] = [COMMANDS] of { byte };

#define UNCLAIMED(s, n) (!slots[(s) * SLOTS + (n)].claimed)
#define AVAILABLE(s)    (UNCLAIMED(s, 0) || UNCLAIMED(s, SLOTS - 1))

inline claim(s, n)
{
    n = s * SLOTS + (UNCLAIMED(s, 0) -> 0 : SLOTS - 1);
    slots[n].claimed = true
}

/* Any program of a few calls, each sent at once or in a batch. */
proctype client(byte s; byte calls)
{
    byte p, n, taken, deferred, mine;

    {
    next:
        do
        :: atomic {                             /* record */
               calls && taken < VALUES && AVAILABLE(s) ->
               calls--;
               taken++;
               p = POINT(s, taken);
               claim(s, n);
               printf("client %d: records (%d,%d) with slot %d\n", s, P(p), n);
               append(s, COMMAND(RECORD, n, p));
               APART
               slots[n].point = p;
               buffer[s]!COMMAND(RECORD, n, p);
               deferred = p;
#ifdef BREAK_CELL
               cell[s] = p;
#endif
               p = 0; n = 0
           }

        :: atomic {                             /* make the list wait for the other's event */
               calls && cell[1 - s] ->
               calls--;
               p = cell[1 - s];
               if
               :: !pin[s] -> n = TIMELINE(p) * SLOTS
#if SLOTS > 1
               :: !pin[s] -> n = TIMELINE(p) * SLOTS + 1
#endif
               :: goto promise
               fi;
#ifndef BREAK_PIN
               pin[s] = 1 + n;
#endif
               APART
               if
               :: slots[n].point == p
               :: else -> pin[s] = 0; goto promise
               fi;
#ifdef BREAK_PIN
               APART
               pin[s] = 1 + n;
#endif
               APART
               printf("client %d: its list waits for (%d,%d) in slot %d\n", s, P(p), n);
               append(s, COMMAND(WAIT, n, p));
               buffer[s]!COMMAND(WAIT, n, p);
               p = 0; n = 0
           }

        :: atomic {                             /* wait for the other's event */
               calls && cell[1 - s] ->
               calls--;
               p = cell[1 - s];
               printf("client %d: waits for (%d,%d)\n", s, P(p));
               goto wait
           }

        :: atomic {                             /* rule 1: send, then store the cell */
               nempty(buffer[s]) ->
               printf("client %d: sends its buffer\n", s);
               do
               :: nempty(buffer[s]) -> buffer[s]?n; fifo[s]!n
               :: empty(buffer[s]) -> n = 0; break
               od;
               if
               :: deferred -> goto store
               :: else
               fi
           }

#ifdef BREAK_OWNER
        :: atomic {
               completed[s] > mine ->
               mine++;
               if
               :: slots[s * SLOTS].point == POINT(s, mine) -> n = s * SLOTS
               :: slots[s * SLOTS + SLOTS - 1].point == POINT(s, mine) -> n = s * SLOTS + SLOTS - 1
               fi;
               printf("client %d: takes slot %d back\n", s, n);
               unseen = (dead[0] || !LOOKS(0, n)) && (dead[1] || !LOOKS(1, n));
               assert(unseen);
               slots[n].point = 0;
               slots[n].signalled = false;
               slots[n].claimed = false;
               n = 0
           }
#endif

        :: atomic { empty(buffer[s]) -> goto close }
        od;

    store:
        atomic { cell[s] = deferred; deferred = 0; goto next };

    promise:
        atomic {
            if
            :: AVAILABLE(s) ->
                claim(s, n);
                printf("client %d: its list waits for (%d,%d), promised in slot %d\n", s, P(p), n);
                append(s, COMMAND(PROMISE, n, p));
                buffer[s]!COMMAND(PROMISE, n, p)
            :: else                             /* the call fails */
            fi;
            p = 0; n = 0;
            goto next
        };

    wait:
        atomic {
            if
            :: REACHED(p) -> assert(executed & BIT(p))
            :: LOST(p)    -> assert(VICTIM < 2)
            fi;
            p = 0;
            goto next
        };

    close:                                      /* the list is synchronized, then destroyed: (d) */
        atomic { !first[s] -> fifo[s]!CLOSE }
    } unless { dead[s] };

    atomic {
        calls = 0; p = 0; n = 0; taken = 0; deferred = 0; mine = 0;
        if
        :: dead[s] ->
            do
            :: nempty(buffer[s]) -> buffer[s]?n; n = 0
            :: empty(buffer[s]) -> break
            od
        :: else
        fi
    }
}

/* ---- Deaths, and how it must end ------------------------------------------------------------- */

init
{
    byte n;

    atomic {
        run gpu(0); run gpu(1);
        run daemon();
        run client(0, CALLS0); run client(1, CALLS1)
    };
#if VICTIM < 2
    atomic { printf("client %d dies\n", VICTIM); dead[VICTIM] = true };
#endif

end:
    timeout;
    unpinned = (dead[0] || !pin[0]) && (dead[1] || !pin[1]);
    assert(unpinned);
    do
    :: n == 2 * SLOTS -> break
    :: else -> returned = !slots[n].claimed; assert(returned); n++
    od
}
