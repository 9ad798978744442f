/* SPDX-License-Identifier: MIT */
/* The shared-memory protocol of xpurt: record, publish, wait, error, death.
 *
 * What is checked, over every interleaving and every program of a few calls per client:
 *   (a) no lost wake-up: every host wait ends (else spin reports an invalid end state);
 *   (b) no wait outlives a death, of a client at any point of its calls or of the daemon;
 *   (c) no early completion: a wait that succeeds sees the work behind its point, on the host and
 *       on the GPU; an error is only reported when somebody did die;
 *   (d) a marker's slot is recycled only when nobody looks at it, and all slots come back.
 *
 * The clients are not scripts: each makes CALLSn calls, of any kind, batched or not. One client is
 * enough for one event to be recorded by: waits know points, not who stored them.
 *
 * A wait never ends by itself: the slices of the real wait are modelled as firing only when the
 * daemon is dead, so that a wake-up that is lost is not healed by a time-out. Apart from that every
 * process only ever moves forward, so all runs are finite and end states tell everything; the
 * variant `finite` has spin check that too.
 *
 * Memory order. Spin runs sequentially consistent, so an order rule is a matter of the order of two
 * steps, and breaking it means swapping them. Release (rule 2) needs more: what the GPU worked is
 * in `executed`, and becomes `visible` to other processes only at a release store of `completed`.
 * That is a store buffer which drains as late as the language allows. The acquire load of the
 * waiter is its mirror image and not modelled apart.
 *
 * One thing each is broken on purpose by these, and `check` demands that spin finds it:
 *   BREAK_RULE1   the cell is stored before the command is handed to the transport
 *   BREAK_RULE2   completed is stored without release
 *   BREAK_RULE3   status is written after the wake
 *   BREAK_WAKE    completed is stored after the wake
 *   BREAK_BUMP    FUTEX_WAKE without a bump of the wake word
 *   BREAK_ADD     the bump is a load and a store (loop and reaper both bump)
 *   BREAK_MAX     completed is stored plainly, not as a maximum (loop and reaper both publish)
 *   BREAK_LOAD    the waiter loads the wake word after its look at completed and status
 *   BREAK_SLICE   the waiter does not look whether the daemon lives
 *   BREAK_DEFER   a stream parked for a point of the dead stays parked
 *   BREAK_PIN     a wait on the GPU does not pin the slot it looks at
 *   BREAK_LOCK    a record takes its value and hands over its command under no common lock
 *   BREAK_REUSE   a timeline goes to a new stream before the old one is drained
 */

/* Bounds. A session has one stream, so session, stream and timeline share one index. FOREIGN leaves
 * out waits for one's own event, HOST leaves out waits by streams; REUSE lets the first client make
 * its stream anew. */
#ifndef VALUES
#define VALUES   2              /* records per timeline */
#endif
#ifndef CALLS0
#define CALLS0   2              /* calls of each client */
#endif
#ifndef CALLS1
#define CALLS1   2
#endif
#ifndef CALLS2
#define CALLS2   0
#endif
#ifndef SESSION2
#define SESSION2 2              /* the third client: a process of its own, or a thread of another */
#endif
#ifndef DEATHS
#define DEATHS   0
#endif
#ifndef VICTIMS
#define VICTIMS  7              /* who may die: 1 first client, 2 second, 4 daemon */
#endif

#define SESSIONS 3
#define EVENTS   2
#define COMMANDS 6              /* room in a queue: more than all calls of one session */
#define DRAIN    (VALUES + 1)   /* a marker without a value, to see a stream's last waits done */
#define POINTS   (SESSIONS * DRAIN)

/* A point packs like the real one: timeline and value in one word, 0 = never recorded. */
#define POINT(t, v)  ((t) * DRAIN + (v))
#define TIMELINE(p)  (((p) - 1) / DRAIN)
#define VALUE(p)     (((p) - 1) % DRAIN + 1)
#define BIT(n)       (1 << (n))
#define DONE(points, set) (((points) & (set)) == (points))

#define P(p)         TIMELINE(p), VALUE(p)      /* for printf */

/* A command: a plain point is the record of it, these make it something else. */
#define WAIT   32
#define RENEW  64               /* destroy the stream, create a new one on the same timeline */

/* The status of a timeline; 0 = good. */
#define PEER_LOST  1
#define DEPENDENCY 2            /* waits for a point that will never be submitted */

/* ---- Shared memory: the boards ------------------------------------------------------------- */

typedef timeline {
    byte completed;
    byte wake;
    byte status
}
timeline board[SESSIONS];
byte cell[EVENTS];

/* ---- The kernel: sockets, futex, processes ------------------------------------------------- */

chan fifo[SESSIONS] = [COMMANDS] of { byte };
byte asleep[3];                 /* of each client: 1 + timeline whose wake word it sleeps on */
bool dead[SESSIONS];
bool gone;                      /* the daemon is dead */

/* Wakes sleepers only: who has not gone to sleep yet is not helped. */
inline futex_wake(t)
{
    d_step {
        if :: asleep[0] == t + 1 -> asleep[0] = 0 :: else fi;
        if :: asleep[1] == t + 1 -> asleep[1] = 0 :: else fi;
        if :: asleep[2] == t + 1 -> asleep[2] = 0 :: else fi
    }
}

/* ---- The daemon's books -------------------------------------------------------------------- */

/* Markers and their slots. Which free slot a marker gets is of no matter, so each stream has its
 * own few, and the lowest free one is taken: early reuse is what finds mistakes. Slots are numbered
 * like points; a marker's own arrays are indexed by its value, [0] being the next marker's. */
typedef stream {
    byte submitted;             /* highest value whose marker is on the GPU */
    byte parked;                /* a wait for what is not submitted yet; all behind it waits too */
    byte slot[DRAIN + 1];       /* of each marker that is not retired */
    short held[DRAIN + 1];      /* slots that the waits in front of the marker look at */
    short after[DRAIN + 1];     /* ghost: the points those waits stand for */
    byte list;                  /* where its commands go */
    bool hung                   /* its hang-up was seen */
}
stream streams[SESSIONS];
byte uses[POINTS + 2];          /* of a slot: by its marker, and by each marker that holds it */
hidden byte recyclable;         /* only names its assertion */

/* ---- The GPU ------------------------------------------------------------------------------- */

/* Command lists, as queues of the markers on them; the waits are part of the marker behind them.
 * The last is for a stream made anew on timeline 0. */
#define LISTS 4
byte first[LISTS];              /* not executed; the rest: */
chan rest[LISTS] = [DRAIN] of { byte };
short signalled;                /* slots */
short executed;                 /* ghost: points whose work is done ... */
short visible;                  /* ghost: ... and is seen by every process */

inline push(head, tail, v)
{
    if
    :: head -> tail!v
    :: else -> head = v
    fi
}

inline pop(head, tail)
{
    if
    :: nempty(tail) -> tail?head
    :: empty(tail) -> head = 0
    fi
}

inline execute(t, v)
{
    assert(DONE(streams[t].after[v], executed));
    signalled = signalled | BIT(streams[t].slot[v]);
    executed = executed | BIT(POINT(t, v));
    printf("gpu: runs (%d,%d)\n", t, v)
}

proctype gpu(byte l)
{
end:
    do
    :: d_step {
           !gone && first[l] && DONE(streams[l % SESSIONS].held[first[l]], signalled) ->
           execute(l % SESSIONS, first[l]);
           pop(first[l], rest[l])
       }
    od
}

/* ---- The daemon's threads ------------------------------------------------------------------ */

byte oldest[LISTS];             /* not retired, as the reaper sees it; the rest: */
chan later[LISTS] = [DRAIN] of { byte };

#define COMPLETE(l)  (oldest[l] && (signalled & BIT(streams[l % SESSIONS].slot[oldest[l]])))
#define DIRTY(t)     (dirty & BIT(t))
#define NEXT(s)      (nempty(fifo[s]) && !streams[s].parked && !streams[s].hung)
#define HANG_UP(s)   (dead[s] && !streams[s].hung)
#define SUBMITTED(p) (VALUE(p) <= streams[TIMELINE(p)].submitted)
#ifdef BREAK_DEFER
#define LOST(p)      false
#else
#define LOST(p)      (board[TIMELINE(p)].status != 0)
#endif
#define RESOLVED(s)  (streams[s].parked && \
                      (SUBMITTED(streams[s].parked) || LOST(streams[s].parked)))

/* (d): the waits of any marker, or before the next marker, that is not retired. */
#define HELD(t)      (streams[t].held[0] | streams[t].held[1] | streams[t].held[2] | \
                      streams[t].held[DRAIN - 1] | streams[t].held[DRAIN])
#define LOOKED_AT(n) ((HELD(0) | HELD(1) | HELD(2)) & BIT(n))

#define PICK(n, ready) \
    if \
    :: ready(0) -> n = 0 \
    :: ready(1) -> n = 1 \
    :: ready(2) -> n = 2 \
    fi

/* Ends one step and begins the next: what is broken is broken apart. */
#define APART }; atomic {

#if defined BREAK_ADD
#define BUMP(t) old = board[t].wake; APART board[t].wake = old + 1; old = 0
#elif defined BREAK_BUMP
#define BUMP(t) skip
#else
#define BUMP(t) board[t].wake++
#endif

/* One step: who falls asleep between bump and FUTEX_WAKE does nothing there, and who is about to
 * sleep looks at the word, not at the call. */
#define WAKE_UP(t) BUMP(t); futex_wake(t)

/* Stores only: the wake is done once at the end of a pass, and `dirty` says for whom. */
inline publish(t, v)
{
    if
    :: v == DRAIN
    :: else ->
#ifndef BREAK_RULE2
        visible = visible | executed;           /* what a release store does */
#endif
#ifdef BREAK_MAX
        board[t].completed = v;
#else
        board[t].completed = (v > board[t].completed -> v : board[t].completed);
#endif
        dirty = dirty | BIT(t)
    fi
}

/* A marker was seen complete: it and the waits in front of it need their slots no more. */
inline retire(t, v)
{
    uses[streams[t].slot[v]]--;
    streams[t].slot[v] = 0;
#ifndef BREAK_PIN
    i = 1;
    do
    :: i > POINTS -> i = 0; break
    :: else -> uses[i] = uses[i] - ((streams[t].held[v] >> i) & 1); i++
    od;
#endif
    streams[t].held[v] = 0;
    streams[t].after[v] = 0
}

/* The completion thread. A pass may see any number of markers before it wakes. */
proctype reaper()
{
    byte t, l, v, i, old, dirty;

    {
    end:
        do
        :: atomic {
               if
               :: COMPLETE(0) -> l = 0
               :: COMPLETE(1) -> l = 1
               :: COMPLETE(2) -> l = 2
               :: COMPLETE(3) -> l = 3
               fi;
               t = l % SESSIONS;
               d_step {
                   v = oldest[l];
                   printf("reaper: sees (%d,%d) complete\n", t, v);
                   retire(t, v);
                   pop(oldest[l], later[l])
               };
#ifdef BREAK_WAKE
               WAKE_UP(t);
#endif
               APART
               printf("reaper: publishes (%d,%d)\n", t, v);
               d_step { publish(t, v) };
#ifdef BREAK_WAKE
               dirty = 0;
#endif
               t = 0; v = 0; l = 0
           }
        :: atomic {
               PICK(t, DIRTY);
               dirty = dirty & ~BIT(t);
               printf("reaper: wakes %d\n", t);
               WAKE_UP(t);
               t = 0
           }
        od
    } unless { gone }
}

/* Puts a marker at the end of a stream. A marker that is complete when it is appended needs no
 * reaper, if there is none in front of it. */
inline append_marker(s, v)
{
    d_step {
        i = POINT(s, 1);
        do
        :: uses[i] -> i++
        :: else -> break
        od;
        assert(i <= POINT(s, DRAIN));
        recyclable = !LOOKED_AT(i);
        assert(recyclable);
        uses[i] = 1;
        signalled = signalled & ~BIT(i);
        streams[s].slot[v] = i;
        i = 0;
        streams[s].held[v] = streams[s].held[0];
        streams[s].held[0] = 0;
        streams[s].after[v] = streams[s].after[0];
        streams[s].after[0] = 0;
        l = streams[s].list
    };
    if
    :: !oldest[l] && !first[l] && DONE(streams[s].held[v], signalled) ->
        d_step {
            printf("loop: appends (%d,%d), complete at once, publishes\n", s, v);
            execute(s, v);
            retire(s, v);
            publish(s, v)
        }
    :: d_step {
           printf("loop: appends (%d,%d)\n", s, v);
           push(first[l], rest[l], v);
           push(oldest[l], later[l], v)
       }
    fi;
    l = 0
}

/* Puts a wait for a submitted point in front of a stream's next marker, and pins its slot. Whether
 * the slot is still there and the pin are one step: the reaper retires markers at the same time. */
inline append_wait(s, p)
{
    printf("loop: stream %d waits for (%d,%d)\n", s, P(p));
    i = streams[TIMELINE(p)].slot[VALUE(p)];
    if
    :: i && !(streams[s].held[0] & BIT(i)) ->
        streams[s].held[0] = streams[s].held[0] | BIT(i);
#ifndef BREAK_PIN
        uses[i]++
#endif
    :: else
    fi;
    i = 0;
    streams[s].after[0] = streams[s].after[0] | BIT(p)
}

/* The loop thread. Commands of a stream that failed are dropped: its status says so for good. */
proctype loop()
{
    byte s, c, v, l, i, old, dirty;

    {
    end:
        do
        :: atomic {
               PICK(s, NEXT);
               fifo[s]?c;
               if
               :: board[s].status -> c = 0
               :: !board[s].status && (c & WAIT) ->
                   c = c - WAIT;
                   if
                   :: SUBMITTED(c) -> d_step { append_wait(s, c) }
                   :: else ->
                       printf("loop: stream %d is parked for (%d,%d)\n", s, P(c));
                       streams[s].parked = c
                   fi;
                   c = 0
               :: !board[s].status && c == RENEW -> goto drain
               :: else ->
                   v = VALUE(c);
                   c = 0;
                   streams[s].submitted = v;
                   append_marker(s, v)
               fi;
               s = 0; v = 0
           }
        :: atomic {
               PICK(s, RESOLVED);
               c = streams[s].parked;
               streams[s].parked = 0;
               if
               :: SUBMITTED(c) -> d_step { append_wait(s, c) }
               :: else -> c = DEPENDENCY; goto failed
               fi;
               c = 0;
               s = 0
           }
        :: atomic {
               PICK(s, HANG_UP);                /* maybe before the last frames are read */
               printf("loop: sees the hang-up of %d\n", s);
               streams[s].hung = true;
               streams[s].parked = 0;
               do
               :: nempty(fifo[s]) -> fifo[s]?c; c = 0
               :: empty(fifo[s]) -> break
               od;
               c = PEER_LOST;
               goto failed
           }
        :: atomic {
               PICK(s, DIRTY);
               dirty = dirty & ~BIT(s);
               printf("loop: wakes %d\n", s);
               WAKE_UP(s);
               s = 0
           }
        od;

    failed:                                     /* rule 3 */
        atomic {
#ifdef BREAK_RULE3
            printf("loop: wakes %d\n", s);
            WAKE_UP(s);
            APART
#else
            dirty = dirty | BIT(s);
#endif
            printf("loop: status of %d is %d\n", s, c);
            board[s].status = c;
            goto drain
        };

    drain:                                      /* no other marker will come for the last waits */
        atomic {
            if
            :: streams[s].held[0] -> append_marker(s, DRAIN)
            :: else
            fi;
            if
            :: c == RENEW -> streams[s].list = s + SESSIONS
            :: else
            fi;
            s = 0; c = 0;
            goto end
        }
    } unless { gone }
}

/* ---- The clients --------------------------------------------------------------------------- */

/* What the threads of one process share: the connection. There is one buffer, whoever flushes it
 * sends all: commands reach the daemon in the order of their values. */
typedef connection {
    byte taken;                 /* last value of the stream given to a record */
    byte deferred[EVENTS];      /* points whose cells wait for the flush */
    bool locked;
    bool renewed
}
connection connections[SESSIONS];
chan buffer[SESSIONS] = [COMMANDS] of { byte };

#define ME    connections[s]
#define OWN   (s % EVENTS)
#define BOARD board[TIMELINE(p)]

#ifdef BREAK_REUSE
#define DRAINED(s) true
#else
#define DRAINED(s) (board[s].completed >= ME.taken)
#endif

inline pick_event()
{
    if
    :: e = 1 - OWN
#ifndef FOREIGN
    :: e = OWN
#endif
    fi
}

/* The caller sees its own records at once, and a host wait for one flushes; others see them after
 * the flush. */
inline load_cell()
{
    p = (ME.deferred[e] -> ME.deferred[e] : cell[e])
}

/* Any program of a few calls. Calls are batched until the program flushes, maybe at once; it may
 * block in a host wait with a batch open. */
proctype client(byte me; byte s; byte calls)
{
    byte e, p, w;

    {
    next:
        do
        :: atomic {                             /* record an event */
               calls && ME.taken < VALUES && !ME.locked ->
               calls--;
               e = OWN;
               ME.taken++;
               p = POINT(s, ME.taken);
               printf("client %d: records (%d,%d)\n", me, P(p));
#ifdef BREAK_LOCK
               APART
               fifo[s]!p;
               cell[e] = p;
#else
               ME.deferred[e] = p;
               buffer[s]!p;
#endif
#ifdef BREAK_RULE1
               cell[e] = p;
#endif
               p = 0; e = 0
           }

#ifndef HOST
        :: atomic {                             /* make the stream wait for an event */
               calls && !ME.locked ->
               calls--;
               pick_event();
               load_cell();
               if
               :: p ->
                   printf("client %d: its stream shall wait for (%d,%d)\n", me, P(p));
                   buffer[s]!(WAIT + p)
               :: else
               fi;
               p = 0; e = 0
           }
#endif

        :: atomic {                             /* wait for an event */
               calls && !ME.locked ->
               calls--;
               pick_event();
               load_cell();
               if
               :: p == 0 ->
                   printf("client %d: has nothing to wait for\n", me);
                   e = 0; goto next
               :: else ->
                   printf("client %d: waits for (%d,%d)\n", me, P(p));
                   if
                   :: p == ME.deferred[e] -> e = 0; goto flush
                   :: else -> e = 0; goto wait
                   fi
               fi
           }

#ifdef REUSE
        :: atomic {                             /* destroy the stream, create another */
               calls && s == 0 && !ME.renewed && empty(buffer[s]) && ME.taken && DRAINED(s) ->
               calls--;
               ME.renewed = true;
               printf("client %d: destroys its stream, creates another\n", me);
               fifo[s]!RENEW
           }
#endif
        :: atomic { nempty(buffer[s]) && !ME.locked -> goto flush }
        :: atomic { calls == 0 && empty(buffer[s]) -> goto done }
        od;

    /* Rule 1: hands the buffer to the transport, as one frame, then stores the cells. */
    flush:
        atomic {
            !ME.locked -> ME.locked = true;
            printf("client %d: sends its buffer\n", me);
            do
            :: nempty(buffer[s]) ->
                buffer[s]?w;
                if
                :: gone -> ME.deferred[0] = 0; ME.deferred[1] = 0
                :: else -> fifo[s]!w
                fi
            :: empty(buffer[s]) -> w = 0; break
            od;
            if
            :: ME.deferred[0] || ME.deferred[1]
            :: else -> goto flushed
            fi
        };
        atomic {
            printf("client %d: stores its cells\n", me);
            cell[0] = (ME.deferred[0] -> ME.deferred[0] : cell[0]);
            cell[1] = (ME.deferred[1] -> ME.deferred[1] : cell[1]);
            ME.deferred[0] = 0;
            ME.deferred[1] = 0;
    flushed:
            ME.locked = false;
            if
            :: p -> goto wait
            :: else -> goto next
            fi
        };

    wait:                                       /* asleep, or about to begin */
        if
        :: atomic {
               !asleep[me] -> w = BOARD.wake;
               printf("client %d: loads wake %d\n", me, w)
           }
#ifndef BREAK_SLICE
        :: atomic { asleep[me] && gone -> asleep[me] = 0; p = 0; goto next }
#endif
        fi;
#ifdef BREAK_LOAD
        w = 0;
#endif
        /* One look at both: a later look at status could only end the wait sooner. */
        if
        :: atomic {
               BOARD.completed >= VALUE(p) ->
               printf("client %d: its wait succeeds\n", me);
               assert(visible & BIT(p));
               p = 0; w = 0;
               goto next
           }
        :: atomic {
               BOARD.completed < VALUE(p) && BOARD.status ->
               printf("client %d: its wait fails\n", me);
               assert(dead[TIMELINE(p)] ||
                      BOARD.status == DEPENDENCY && (dead[0] || dead[1] || dead[2]));
               p = 0; w = 0;
               goto next
           }
        :: BOARD.completed < VALUE(p) && !BOARD.status
        fi;
#ifdef BREAK_LOAD
        w = BOARD.wake;
#endif
        atomic {
            if
            :: BOARD.wake == w ->
                printf("client %d: sleeps\n", me);
                asleep[me] = 1 + TIMELINE(p)
            :: else
            fi;
            w = 0;
            goto wait
        }
    } unless { dead[s] };

done:
    atomic {
        asleep[me] = 0; calls = 0; e = 0; p = 0; w = 0;
        if
        :: dead[s] ->
            do
            :: nempty(buffer[s]) -> buffer[s]?p; p = 0
            :: empty(buffer[s]) -> break
            od
        :: else
        fi
    }
}

/* ---- Deaths, and how it must end ----------------------------------------------------------- */

/* Each death does happen, at any moment; that nobody dies is another run. */
proctype killer()
{
    byte deaths = DEATHS;

    do
    :: atomic { deaths && (VICTIMS & 1) -> deaths--; dead[0] = true; printf("client 0 dies\n") }
    :: atomic { deaths && (VICTIMS & 2) -> deaths--; dead[1] = true; printf("client 1 dies\n") }
    :: atomic { deaths && (VICTIMS & 4) -> deaths = 0; gone = true; printf("the daemon dies\n") }
    :: deaths == 0 -> break
    od
}

/* What pins a slot for good is only a wait that a living stream has no marker behind yet. */
#define PINS(t, n) (streams[t].hung -> 0 : (streams[t].held[0] >> (n)) & 1)

init
{
    byte i;

    atomic {
        streams[1].list = 1; streams[2].list = 2;
        run gpu(0); run gpu(1); run gpu(2);
#ifdef REUSE
        run gpu(3);
#endif
        run reaper(); run loop();
        run client(0, 0, CALLS0); run client(1, 1, CALLS1); run client(2, SESSION2, CALLS2);
        run killer()
    };

    /* Nothing moves any more: nothing is left behind either. */
end:
    timeout;
    assert(gone || !(streams[0].parked || streams[1].parked || streams[2].parked));
    assert(gone || !(oldest[0] || oldest[1] || oldest[2] || oldest[3]));
    i = 1;
    do
    :: gone || i > POINTS -> break
    :: else -> assert(uses[i] <= PINS(0, i) + PINS(1, i) + PINS(2, i)); i++
    od
}
