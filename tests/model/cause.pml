/* SPDX-License-Identifier: MIT */
/* Effects come after causes: the loop and the reaper publish, devices and clients are lost.
 *
 * Three streams of the daemon; each may wait for the points of those before it. Some may be on a
 * device that is lost, and the second belongs to a client that may die.
 *
 * What is checked, over every interleaving and every program of a few commands per stream:
 *   (a) a value is published only after all points its work waited for were published;
 *   (b) and only when its work was really done: never when one of them is lost;
 *   (c) in the end each value is reached or its timeline has a status, and every marker is done, so
 *       that all it held goes back.
 *
 * One thing each is broken on purpose by these, and `check` demands that spin finds it:
 *   BREAK_REAPER   the reaper does not look whether a marker's cause was reached
 *   BREAK_LOOP     the loop does not, where it publishes itself
 *   BREAK_ONE      a second wait takes the place of the cause that has no marker yet
 *   BREAK_DONE     `done` is stored before `completed`
 *   BREAK_LOOK     the reaper looks whether a stream is lost before it looks at the slot
 *   BREAK_ORDER    slots are released before those who wait for them have failed
 *   BREAK_LOST     those who wait for a lost stream get a status, but are not marked lost
 *   BREAK_AGAIN    a marker that is not found counts as reached, though it may be lost
 *   BREAK_RECORD   a record runs on though giving back showed that the stream is lost
 *   BREAK_CLOSED   streams of the dead, that still drain, are not told of a loss
 *   BREAK_TOLD     a stream that has failed with another one is not looked at again when its own
 *                  device is lost
 */

#ifndef CALLS0
#define CALLS0 0                /* commands of each stream */
#endif
#ifndef CALLS1
#define CALLS1 0
#endif
#ifndef CALLS2
#define CALLS2 0
#endif
#ifndef LOSS
#define LOSS   0                /* streams whose device is lost, at some time: 1, 2, 4 */
#endif
#ifndef DEATH
#define DEATH  0                /* 1: so is the client of the second */
#endif

/* BUSY leaves out records without work; CHAIN makes each stream wait for the one before it, and
 * record only what waited; LOOSE leaves the rule about causes out, and does not ask for it: without
 * chains, the order of loss and release alone must guarantee (b). */
#ifdef CHAIN
#define SKIPS(s, t)   (s - t > 1)
#define WAITED(t)     (t == 0 || after[t])
#else
#define SKIPS(s, t)   false
#define WAITED(t)     true
#endif

#define STREAMS 3
#define VALUES  2
#define MARKERS 4               /* of a stream: its commands, and a fence behind each wait */
#define PLACES  (STREAMS * MARKERS)

#define POINT(t, v)  ((t) * VALUES + (v))
#define TIMELINE(p)  (((p) - 1) / VALUES)
#define VALUE(p)     (((p) - 1) % VALUES + 1)
#define BIT(n)       (1 << (n))
#define DONE(points, set) (((points) & (set)) == (points))
#define P(p)         TIMELINE(p), VALUE(p)

/* Ends one step and begins the next. */
#define APART }; atomic {

/* ---- Shared memory, and what loop and reaper share ------------------------------------------- */

byte completed[STREAMS];
bool status[STREAMS];
byte lost_from[STREAMS];        /* markers from this one on do not count */
bool device_lost[STREAMS];
bool noticed[STREAMS];
byte head[STREAMS];
byte done[STREAMS];

/* Markers, and the slots they look at, are numbered alike; a slot is never used again here. */
#define PLACE(t, i) ((t) * MARKERS + (i) - 1)
typedef marker {
    byte value;
    byte cause;
    byte slot
}
marker markers[PLACES];

#define REACHED(p)   (completed[TIMELINE(p)] >= VALUE(p))
#define SEEN(p)      (!(p) || REACHED(p))

/* ---- The GPU --------------------------------------------------------------------------------- */

bool gone;                      /* the device */
#define GONE(t)      (gone && (LOSS & BIT(t)))
byte appended[STREAMS];         /* slots: on the list; executed */
byte executed[STREAMS];
short waits[PLACES];            /* slots that a marker's work waits for */
short signalled;
short ran;                      /* ghost: by the GPU, behind work that ran */
short wants[PLACES];            /* ghost: the markers of the points its stream has waited for */

#define RUNS(t)      (executed[t] != appended[t] && !GONE(t) && \
                      DONE(waits[PLACE(t, executed[t] + 1)], signalled))

inline execute(t)
{
    executed[t]++;
    signalled = signalled | BIT(PLACE(t, executed[t]));
    if
    :: DONE(wants[PLACE(t, executed[t])], ran) &&
       (executed[t] == 1 || (ran & BIT(PLACE(t, executed[t]) - 1))) ->
        ran = ran | BIT(PLACE(t, executed[t]))
    :: else
    fi
}

proctype gpu(byte t)
{
end:
    do
    :: d_step { RUNS(t) -> execute(t); printf("gpu: runs marker %d of %d\n", executed[t], t) }
    od
}

#define NOWHERE 255
#define LOST(t)      (lost_from[t] != NOWHERE)

inline lose(t, from)
{
    lost_from[t] = (from < lost_from[t] -> from : lost_from[t])
}

/* ---- Publishing ------------------------------------------------------------------------------ */

byte after[STREAMS];            /* ghost: points that a stream's work waited for, so far */
short behinds[STREAMS];         /* ghost: their markers */
byte needs[STREAMS * VALUES];   /* ghost: the same, of each value */
byte behind[STREAMS * VALUES];  /* ghost: markers on the list in front of it */
hidden byte ordered, worked, settled, told; /* only name their assertions */

#define UNREACHED(t) (((BIT(VALUES) - 1) & ~(BIT(completed[t]) - 1)) << POINT(t, 1))

inline publish(t, v)
{
    ordered = !(needs[POINT(t, v) - 1] & (UNREACHED(0) | UNREACHED(1) | UNREACHED(2)));
    worked = !behind[POINT(t, v) - 1] || (ran & BIT(PLACE(t, behind[POINT(t, v) - 1])));
#ifndef LOOSE
    assert(ordered);
#endif
    assert(worked);
    completed[t] = v
}

/* ---- The reaper ------------------------------------------------------------------------------ */

#define MARKER       markers[PLACE(t, d + 1)]
#define SIGNALLED(m) (signalled & BIT(m.slot))
#define OLDEST(t)    markers[PLACE(t, done[t] + 1)]

#if defined BREAK_REAPER || defined LOOSE
#define SEEN_BY_REAPER(p) true
#else
#define SEEN_BY_REAPER(p) SEEN(p)
#endif

/* The reaper looks all the time; a look that changes nothing is left out. */
#ifdef BREAK_LOOK
#define UNDONE(t)    (done[t] != head[t])
#else
#define UNDONE(t)    (done[t] != head[t] && (GONE(t) || SIGNALLED(OLDEST(t)) && \
                      (done[t] >= lost_from[t] || SEEN_BY_REAPER(OLDEST(t).cause))))
#endif

proctype reaper()
{
    byte t, d, h, v;
    bool was;

end:
    do
    :: atomic {
           if
           :: UNDONE(0) -> t = 0
           :: UNDONE(1) -> t = 1
           :: UNDONE(2) -> t = 2
           fi;
           d = done[t];
           h = head[t]
       };
       do
       :: atomic {
              d != h;
#ifdef BREAK_LOOK
              was = d >= lost_from[t];
#endif
              APART
              if
              :: GONE(t) ->                     /* maybe for what is done, too */
                  device_lost[t] = true;
                  lose(t, d);
                  was = true
              :: SIGNALLED(MARKER)
              :: !SIGNALLED(MARKER) && !GONE(t) -> goto looked
              fi;
              APART
#ifndef BREAK_LOOK
              was = d >= lost_from[t];
#endif
              if
              :: was
              :: !was && !SEEN_BY_REAPER(MARKER.cause) -> goto looked
              :: else -> v = (MARKER.value -> MARKER.value : v)
              fi;
              d++
          }
       :: d == h -> break
       od;

    looked:
       atomic {
           was = false;
           h = 0;
           if
           :: d == done[t] -> t = 0; d = 0; goto end
           :: else
           fi
#ifdef BREAK_DONE
           ;
           done[t] = d
#endif
       };
       atomic {
           if
           :: v ->
               printf("reaper: publishes (%d,%d)\n", t, v);
               publish(t, v)
           :: else
           fi;
           v = 0
       };
       atomic {
           printf("reaper: marker %d of %d is done\n", d, t);
           done[t] = d;
           d = 0
       };
       atomic {
           noticed[t] = true;
           t = 0
       }
    od
}

/* ---- The loop -------------------------------------------------------------------------------- */

byte calls[STREAMS];
byte submitted[STREAMS];
byte freed[STREAMS];
byte cause[STREAMS];            /* of the next marker */
short pending[STREAMS];         /* waits in front of it */
bool work[STREAMS];
bool failed[STREAMS];
bool touched[STREAMS];          /* to be looked at in the end of the round */
byte told_from[STREAMS];        /* those who depend on markers from here on have failed */
bool released[STREAMS];         /* and on those that the device has not done */
bool closed[STREAMS];           /* its client is dead */
bool dead;

#define READY(t)     (calls[t] && !failed[t])
#define RECORDS(t)   (READY(t) && submitted[t] < VALUES && WAITED(t))
#define TOUCHED(t)   (touched[t] || work[t])
#define NOTICED(t)   (noticed[t])
#define PICK(t, ready) \
    if \
    :: ready(0) -> t = 0 \
    :: ready(1) -> t = 1 \
    :: ready(2) -> t = 2 \
    fi

inline fail(t)
{
    if
    :: !failed[t] ->
        printf("loop: stream %d fails\n", t);
        failed[t] = true;
        status[t] = true;
        touched[t] = true
    :: else
    fi
}

#if defined BREAK_LOOP || defined LOOSE
#define SEEN_BY_LOOP(p) true
#else
#define SEEN_BY_LOOP(p) SEEN(p)
#endif

inline submit(s, v)
{
    submitted[s] = v;
    needs[POINT(s, v) - 1] = after[s];
    behind[POINT(s, v) - 1] = appended[s]
}

/* A marker of its own behind the work; value 0 is a fence. */
inline append_marker(s, v)
{
    if
    :: GONE(s) -> fail(s); work[s] = false
    :: true ->
        appended[s]++;
        i = PLACE(s, appended[s]);
        waits[i] = pending[s];
        wants[i] = behinds[s];
        pending[s] = 0;
        work[s] = false;
        if
        :: v -> submit(s, v)
        :: else
        fi;
        if
        :: RUNS(s) && executed[s] + 1 == appended[s] && freed[s] == head[s] && !LOST(s) &&
           SEEN_BY_LOOP(cause[s]) ->
            execute(s);
            printf("loop: marker %d of %d is complete at once\n", appended[s], s);
            if
            :: v -> publish(s, v)
            :: else
            fi
        :: true ->
            printf("loop: appends marker %d of %d\n", appended[s], s);
            markers[PLACE(s, head[s] + 1)].slot = i;
            markers[PLACE(s, head[s] + 1)].value = v;
            markers[PLACE(s, head[s] + 1)].cause = cause[s];
            head[s]++
        fi;
        cause[s] = 0;
        i = 0
    fi
}

#define CAUSED(p, t) ((p) && TIMELINE(p) == t && VALUE(p) >= least)

/* The first marker of a stream behind the lost ones of another. */
inline find_caused(o, t)
{
    n = (lost_from[t] > freed[t] -> lost_from[t] : freed[t]);
    do
    :: n >= head[t] || markers[PLACE(t, n + 1)].value -> break
    :: else -> n++
    od;
    at = NOWHERE;
    if
    :: n >= head[t]
    :: else ->
        least = markers[PLACE(t, n + 1)].value;
        if
        :: CAUSED(cause[o], t) -> at = head[o]
        :: else
        fi;
        n = head[o];
        do
        :: n == freed[o] -> break
        :: else ->
            n--;
            if
            :: CAUSED(markers[PLACE(o, n + 1)].cause, t) -> at = n
            :: else
            fi
        od;
        least = 0
    fi;
    n = 0
}

#ifdef BREAK_CLOSED
#define LISTENS(o) !closed[o]
#else
#define LISTENS(o) true
#endif

inline fail_dependent(o, t)
{
    at = NOWHERE;
    if
    :: o != t && LISTENS(o) -> find_caused(o, t)
    :: else
    fi;
    if
    :: at < lost_from[o] ->
#ifndef BREAK_LOST
        lose(o, at);
#endif
        fail(o);
        touched[o] = true
    :: else
    fi;
    at = 0
}

inline release(s)
{
    d_step {
        n = lost_from[s];
        do
        :: next < 4 || n >= head[s] -> n = 0; break
        :: else -> signalled = signalled | BIT(markers[PLACE(s, n + 1)].slot); n++
        od
    }
}

#ifdef BREAK_TOLD
#define UNTOLD(t) (LOST(t) && told_from[t] == NOWHERE)
#else
#define UNTOLD(t) (lost_from[t] < told_from[t] || (device_lost[t] && !released[t]))
#endif

/* Ghost. */
inline waited(s, p)
{
    after[s] = after[s] | BIT(p);
    if
    :: behind[p - 1] -> behinds[s] = behinds[s] | BIT(PLACE(TIMELINE(p), behind[p - 1]))
    :: else
    fi
}

#define RECLAIM 0
#define RECORD  1
#define FINISH  2

proctype loop()
{
    byte s, p, v, i, n, at, least, next;

end:
    do
    :: atomic {                                 /* wait for what is submitted */
           if
           :: READY(1) -> s = 1
           :: READY(2) -> s = 2
           fi;
           calls[s]--;
           if
           :: !SKIPS(s, 0) && submitted[0] >= 1 -> p = POINT(0, 1)
           :: !SKIPS(s, 0) && submitted[0] >= 2 -> p = POINT(0, 2)
           :: s == 2 && submitted[1] >= 1 -> p = POINT(1, 1)
           :: s == 2 && submitted[1] >= 2 -> p = POINT(1, 2)
           :: else -> s = 0; goto end
           fi;
           if
           :: REACHED(p) -> waited(s, p); s = 0; p = 0; goto end
           :: else
           fi;
           APART
           if
           :: status[TIMELINE(p)] -> fail(s); s = 0; p = 0; goto end
           :: else
           fi;
           APART
           n = PLACE(TIMELINE(p), done[TIMELINE(p)] + 1);
           do
           :: n > PLACE(TIMELINE(p), head[TIMELINE(p)]) || markers[n].value >= VALUE(p) -> break
           :: else -> n++
           od;
           if
           :: n > PLACE(TIMELINE(p), head[TIMELINE(p)]) ->
#ifdef BREAK_AGAIN
               waited(s, p)
#else
               if
               :: REACHED(p) -> waited(s, p)
               :: else -> fail(s)
               fi
#endif
           :: else ->
               printf("loop: stream %d waits for (%d,%d)\n", s, P(p));
               n = markers[n].slot;
#ifndef BREAK_ONE
               if
               :: cause[s] -> append_marker(s, 0)
               :: else
               fi;
#endif
               waited(s, p);
               pending[s] = pending[s] | BIT(n);
               cause[s] = p;
               work[s] = true
           fi;
           s = 0; p = 0; n = 0
       }
    :: atomic {                                 /* work, maybe, and a record behind it */
           PICK(s, RECORDS);
           calls[s]--;
           v = submitted[s] + 1;
           if
           :: work[s] = true
#ifndef BUSY
           :: true
#endif
           fi;
           next = RECORD;
           goto reclaim
       }
    :: atomic { PICK(s, TOUCHED); touched[s] = false; next = FINISH; goto lost }
    :: atomic { PICK(s, NOTICED); noticed[s] = false; next = RECLAIM; goto reclaim }
    :: atomic {
           dead && !closed[1] ->
           printf("loop: sees the hang-up of 1\n");
           closed[1] = true; failed[1] = true; status[1] = true; touched[1] = true
       }
    od;

reclaim:
    atomic {
        p = done[s];
        if
        :: freed[s] == p -> goto reclaimed
        :: else -> goto lost
        fi
    };

lost:
    atomic {
        if
        :: UNTOLD(s) -> told_from[s] = lost_from[s]
        :: else -> goto reclaimed
        fi;
        if
        :: device_lost[s] -> fail(s); released[s] = true; next = next + 4
        :: else
        fi;
#ifdef BREAK_ORDER
        release(s);
        APART
#endif
        d_step {
            fail_dependent(0, s);
            fail_dependent(1, s);
            fail_dependent(2, s)
        };
        APART
        release(s);
        next = next & 3
    };

reclaimed:
    atomic {
        freed[s] = (p > freed[s] -> p : freed[s]);
        p = 0;
        if
        :: next == RECLAIM
        :: next == FINISH && !work[s]
        :: next == FINISH && work[s] -> append_marker(s, 0)
#ifndef BREAK_RECORD
        :: next == RECORD && failed[s]
#endif
        :: else ->
            if
            :: work[s] -> append_marker(s, v)
            :: else ->
                submit(s, v);
                if
                :: freed[s] == head[s] ->
                    printf("loop: publishes (%d,%d)\n", s, v);
                    publish(s, v)
                :: else ->
                    printf("loop: (%d,%d) shares the marker before it\n", s, v);
                    markers[PLACE(s, head[s] + 1)].slot = markers[PLACE(s, head[s])].slot;
                    markers[PLACE(s, head[s] + 1)].value = v;
                    head[s]++
                fi
            fi
        fi;
        s = 0; v = 0; next = RECLAIM;
        goto end
    }
}

/* ---- The bad day, and how it must end -------------------------------------------------------- */

#define SETTLED(t) (done[t] == head[t] && freed[t] == head[t])
#define TOLD(t)    (status[t] || completed[t] == submitted[t])

proctype bad_day()
{
    bool loss = LOSS != 0, death = DEATH;

    do
    :: atomic { loss -> loss = false; gone = true; printf("the device is lost\n") }
    :: atomic { death -> death = false; dead = true; printf("client 1 dies\n") }
    :: !loss && !death -> break
    od
}

init
{
    atomic {
        lost_from[0] = NOWHERE; lost_from[1] = NOWHERE; lost_from[2] = NOWHERE;
        told_from[0] = NOWHERE; told_from[1] = NOWHERE; told_from[2] = NOWHERE;
        calls[0] = CALLS0; calls[1] = CALLS1; calls[2] = CALLS2;
        run gpu(0); run gpu(1); run gpu(2);
        run reaper(); run loop(); run bad_day()
    };

end:
    timeout;
    settled = SETTLED(0) && SETTLED(1) && SETTLED(2);
    told = TOLD(0) && TOLD(1) && TOLD(2);
    assert(settled);
    assert(told)
}
