/* SPDX-License-Identifier: MIT */
/* The ring between a client and the daemon: bytes and bells, and the socket beside them. One
 * direction; the other one is the same with the roles exchanged.
 *
 * The producer writes a frame's bytes, then `tail`; the consumer copies a whole frame out, then
 * stores `head`. Who finds nothing to do says so, looks again, and sleeps; the other one wakes only
 * who said so: a consumer by a bell, a producer by a futex, once half of the ring is free. What is
 * in the ring when a request is received from the socket is handled before that.
 *
 * A consumer sleeps until the bell or the socket has something, or dozes on the word `asleep` itself; then a
 * lookout watches bell and socket, and wakes it, again and again (by a signal) until it has noticed: the
 * lookout does not change the word, which is not the daemon's to rely on, so that the kernel does not see
 * a wake-up that comes just before the consumer sleeps.
 *
 * What is checked, over every interleaving and for all lengths of the frames:
 *   (a) no doorbell is lost: in the end every frame and request was handled, and nobody sleeps with
 *       work to do;
 *   (b) every frame arrives whole, once, in order;
 *   (c) no request is handled before the commands sent before it.
 *
 * Memory order. Stores go into a buffer of the process, which drains one by one at any time, as on
 * x86; a sequentially consistent store is one that waits until the buffer is empty. A release store
 * comes behind those before it, as the buffer keeps their order: breaking it means swapping them.
 *
 * One thing each is broken on purpose by these, and `check` demands that spin finds it:
 *   BREAK_LOOK      the consumer does not look again before it sleeps
 *   BREAK_LOOK_FULL the producer does not
 *   BREAK_TAIL      `tail` is stored before the frame's bytes
 *   BREAK_TORN      `tail` is stored behind each byte
 *   BREAK_HEAD      `head` is stored before the frame is copied out
 *   BREAK_BELL      the doorbell is rung before `tail` is stored
 *   BREAK_STORE     `tail` is stored with release only: `asleep` may be loaded before
 *   BREAK_ASLEEP    `asleep` is stored with release only: `tail` may be loaded before
 *   BREAK_FREED     `head` is stored with release only: `waiting` may be loaded before
 *   BREAK_WAITING   `waiting` is stored with release only: `head` may be loaded before
 *   BREAK_BUMP      FUTEX_WAKE without a bump of `room`
 *   BREAK_COMPARE   the consumer dozes whatever the word is by then
 *   BREAK_AGAIN     the lookout wakes once
 *   BREAK_ROOM      `room` is loaded after the second look at `head`
 *   BREAK_FIRST     a request is handled before what is in the ring
 *   BREAK_RECEIVED  what is in the ring is looked at before the request is received
 * And OLD is a producer that knows only the bell.
 */

#ifndef FRAMES
#define FRAMES   3
#endif
#ifndef REQUESTS
#define REQUESTS 1
#endif
#define SIZE     4              /* bytes of the ring; a frame has 1 or 2: at most half of it */

/* ---- Shared memory, behind store buffers ----------------------------------------------------- */

#define TAIL     SIZE
#define HEAD     (SIZE + 1)
#define ASLEEP   (SIZE + 2)
#define WAITING  (SIZE + 3)
#define ROOM     (SIZE + 4)     /* a futex word, only for atomic additions */
byte memory[SIZE + 5];
chan stores[2] = [5] of { byte, byte };     /* of the producer, of the consumer */

#define STORE(s, where, what) stores[s]!where, what
#define FENCE(s)              empty(stores[s])

proctype drain(byte s)
{
    byte where, what;

end:
    do
    :: atomic { stores[s]?where, what -> memory[where] = what; where = 0; what = 0 }
    od
}

/* ---- The kernel ------------------------------------------------------------------------------ */

bool bell;
bool asleep;                    /* the producer, on the futex */
bool dozing;                    /* the consumer, on the word ASLEEP */
chan socket = [REQUESTS + 1] of { byte };   /* requests; ghost: frames sent before each */

/* ---- The two sides --------------------------------------------------------------------------- */

/* Values of ASLEEP, apart from 0. */
#define ON_BELL 1
#define ON_WORD 2

/* What the lookout does, or is to do. */
#define RESTING  0
#define WATCHING 1
#define SEEN     2              /* the consumer has to notice */
byte lookout_state;

/* The byte i of frame f, of a given length. The first one tells the length. */
#define BYTE(f, i, length) ((f) * 4 + ((i) -> 3 : (length)))
#define LENGTH(b)          ((b) & 3)

byte sent;                      /* ghost: frames; by whom does not matter */
byte taken;
byte answered;
hidden byte whole, ordered, handled;    /* only name their assertions */

#ifdef OLD
#define KNOWS_DOZING false
#else
#define KNOWS_DOZING true
#endif

#define RING                                                                    \
    if                                                                          \
    :: atomic {                                                                 \
           memory[ASLEEP] == ON_WORD && KNOWS_DOZING ->                         \
           printf("producer: wakes\n"); memory[ASLEEP] = 0; dozing = false      \
       }                                                                        \
    :: atomic {                                                                 \
           memory[ASLEEP] && !(memory[ASLEEP] == ON_WORD && KNOWS_DOZING) ->    \
           printf("producer: rings\n"); memory[ASLEEP] = 0; bell = true         \
       }                                                                        \
    :: else                                                                     \
    fi;

proctype producer()
{
    byte tail, length, i, requests, room;

next:
    do
    :: atomic {
           sent < FRAMES ->
           if
           :: length = 1
           :: length = 2
           fi;
           goto room_again
       }
    :: atomic {                                 /* the kernel's locks order it behind the stores */
           requests < REQUESTS && FENCE(0) ->
           requests++;
           printf("producer: sends a request\n");
           socket!sent
       }
    :: sent == FRAMES && requests == REQUESTS -> goto done
    od;

room_again:
    if
    :: tail + length - memory[HEAD] <= SIZE -> goto write
    :: else
    fi;
    room = memory[ROOM];
    STORE(0, WAITING, 1);
#ifndef BREAK_WAITING
    FENCE(0);
#endif
#ifndef BREAK_LOOK_FULL
    if
    :: tail + length - memory[HEAD] <= SIZE -> goto awake
    :: else
    fi;
#endif
#ifdef BREAK_ROOM
    room = memory[ROOM];
#endif
    atomic {                                    /* the kernel compares */
        if
        :: memory[ROOM] == room -> printf("producer: sleeps\n"); asleep = true
        :: else
        fi;
        room = 0
    };
    !asleep;
awake:
    room = 0;
    STORE(0, WAITING, 0);
    goto room_again;

write:
#if defined BREAK_TAIL
    STORE(0, TAIL, tail + length);
#endif
    do
    :: i < length ->
        STORE(0, (tail + i) % SIZE, BYTE(sent + 1, i, length));
        i++;
#ifdef BREAK_TORN
        STORE(0, TAIL, tail + i)
#endif
    :: else -> break
    od;
    atomic { i = 0; tail = tail + length; length = 0; sent++ };
    printf("producer: has written frame %d, tail %d\n", sent, tail);
#ifdef BREAK_BELL
    RING
#endif
#ifndef BREAK_TAIL
    STORE(0, TAIL, tail);
#endif
#ifndef BREAK_STORE
    FENCE(0);
#endif
#ifndef BREAK_BELL
    RING
#endif
    goto next;

done:
    skip
}

#ifdef BREAK_FIRST
#define ANYWHERE true
#else
#define ANYWHERE false
#endif

proctype consumer()
{
    byte head, seen, b, length, i, position, before;
    bool asked;

next:
    if
    :: atomic {
           asked && (head >= position || ANYWHERE) ->
           printf("consumer: handles a request\n");
           ordered = taken >= before;
           assert(ordered);                             /* (c) */
           answered++;
           asked = false; position = 0; before = 0
       }
    :: else
    fi;
#ifdef BREAK_RECEIVED
    if
    :: !asked -> position = memory[TAIL]
    :: else
    fi;
#endif
    if
    :: atomic { !asked && nempty(socket) -> socket?before; asked = true }
#ifndef BREAK_RECEIVED
       position = memory[TAIL];
#endif
       goto next
    :: else
    fi;
    seen = memory[TAIL];
    if
    :: seen != head -> goto take
    :: else
    fi;
    STORE(1, ASLEEP, ON_BELL);
#ifndef BREAK_ASLEEP
    FENCE(1);
#endif
#ifndef BREAK_LOOK
    if
    :: memory[TAIL] != head -> goto awake
    :: else
    fi;
#endif
    if
    :: goto on_bell
    :: skip
    fi;
    if
    :: lookout_state == RESTING -> lookout_state = WATCHING
    :: else
    fi;
    if
    :: atomic { FENCE(1) && memory[ASLEEP] == ON_BELL -> memory[ASLEEP] = ON_WORD }
    :: FENCE(1) && memory[ASLEEP] != ON_BELL -> goto on_bell
    fi;
    if
    :: lookout_state == WATCHING ->
        atomic {                                /* the kernel compares */
            if
#ifdef BREAK_COMPARE
            :: printf("consumer: dozes\n"); dozing = true
#else
            :: memory[ASLEEP] == ON_WORD -> printf("consumer: dozes\n"); dozing = true
            :: else
#endif
            fi
        };
end_dozing:
        !dozing
    :: else
    fi;
    if
    :: lookout_state == SEEN -> lookout_state = RESTING
    :: else
    fi;
    if
    :: atomic { memory[ASLEEP] == ON_WORD -> memory[ASLEEP] = ON_BELL; bell = false }
    :: else
    fi;
    goto awake;
on_bell:
    printf("consumer: sleeps\n");
end:
    atomic { bell || nempty(socket) -> bell = false };
awake:
    STORE(1, ASLEEP, 0);
    goto next;

take:
    b = memory[head % SIZE];
    length = LENGTH(b);
    whole = length;
    assert(whole);
#ifdef BREAK_HEAD
    STORE(1, HEAD, head + length);
#endif
    do
    :: i < length ->
        atomic {
            whole = memory[(head + i) % SIZE] == BYTE(taken + 1, i, length);
            assert(whole);                              /* (b) */
            i++
        }
    :: else -> break
    od;
    atomic {
        i = 0; b = 0; taken++; head = head + length; length = 0;
        printf("consumer: takes frame %d, head %d\n", taken, head)
    };
#ifndef BREAK_HEAD
    STORE(1, HEAD, head);
#endif
#ifndef BREAK_FREED
    FENCE(1);
#endif
    if
    :: memory[WAITING] && seen - head <= SIZE / 2 ->
        STORE(1, WAITING, 0);
        atomic {
            FENCE(1);
#ifndef BREAK_BUMP
            memory[ROOM]++;
#endif
        };
        atomic { printf("consumer: wakes\n"); asleep = false }
    :: else
    fi;
    goto next
}

proctype lookout()
{
end:
    do
    :: atomic { lookout_state == WATCHING && (bell || nempty(socket)) -> lookout_state = SEEN };
       atomic { printf("lookout: wakes\n"); dozing = false }
#ifndef BREAK_AGAIN
    :: atomic { lookout_state == SEEN && dozing -> printf("lookout: wakes again\n"); dozing = false }
#endif
    od
}

init
{
    atomic { run drain(0); run drain(1); run producer(); run consumer(); run lookout() };

end:
    timeout;
    handled = taken == FRAMES && answered == REQUESTS;
    assert(handled)                                     /* (a) */
}
