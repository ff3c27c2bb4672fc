-- The schema of the booking service. It may be run again at any time.
--
-- The primary keeps the truth by itself: two bookings of one seat whose times
-- overlap cannot both be committed, whatever the service does. Reads use only
-- plain tables and built-in types, so that pgroute can prove them to be reads.

CREATE TABLE IF NOT EXISTS rooms (
    id            bigint PRIMARY KEY,
    name          text   NOT NULL,
    row_count     int    NOT NULL CHECK (row_count BETWEEN 1 AND 500),
    seats_per_row int    NOT NULL CHECK (seats_per_row BETWEEN 1 AND 500)
);

CREATE TABLE IF NOT EXISTS seats (
    id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    room_id  bigint NOT NULL REFERENCES rooms,
    row_name text   NOT NULL,
    number   int    NOT NULL,
    UNIQUE (room_id, row_name, number)
);

CREATE TABLE IF NOT EXISTS slots (
    id     bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    during tstzrange NOT NULL UNIQUE CHECK (NOT isempty(during) AND NOT lower_inf(during) AND NOT upper_inf(during)),
    -- What bookings refer to, so that a booking's time is its slot's.
    UNIQUE (id, during)
);

CREATE TABLE IF NOT EXISTS bookings (
    id              bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- The client's name for its wish. Whoever sends it again gets the booking
    -- that it made, so that nothing is booked twice, however often a request
    -- is repeated.
    idempotency_key text        NOT NULL UNIQUE,
    slot_id         bigint      NOT NULL,
    seat_id         bigint      NOT NULL CONSTRAINT bookings_seat REFERENCES seats,
    during          tstzrange   NOT NULL,
    customer        text        NOT NULL CHECK (customer <> ''),
    created         timestamptz NOT NULL DEFAULT now(),
    -- A booking that was cancelled stays: its key must not book again.
    cancelled       timestamptz,
    CONSTRAINT bookings_slot FOREIGN KEY (slot_id, during) REFERENCES slots (id, during)
);

-- The usual fight is for one seat in one slot. This index decides it: the
-- losers queue behind the winner. (Losers of an exclusion constraint wait for
-- each other, which may end in a deadlock error.)
CREATE UNIQUE INDEX IF NOT EXISTS bookings_seat_slot ON bookings (seat_id, slot_id) WHERE cancelled IS NULL;

-- And this constraint decides between different slots that overlap. The
-- one-element range makes it work without an extension.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'bookings_no_overlap' AND conrelid = 'bookings'::regclass) THEN
        ALTER TABLE bookings ADD CONSTRAINT bookings_no_overlap
            EXCLUDE USING gist (during WITH &&, int8range(seat_id, seat_id, '[]') WITH &&) WHERE (cancelled IS NULL);
    END IF;
END
$$;
