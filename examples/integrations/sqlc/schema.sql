CREATE TABLE bookings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    note     text,
    guests   text[] NOT NULL DEFAULT '{}',
    details  jsonb NOT NULL DEFAULT '{}',
    price    numeric(10, 2) NOT NULL DEFAULT 0,
    starts   timestamptz NOT NULL DEFAULT now()
);
