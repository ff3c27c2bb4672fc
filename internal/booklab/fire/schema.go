package fire

// rowsSQL lists all bookings of the example as one JSON array.
const rowsSQL = `SELECT coalesce(json_agg(json_build_object(
	'slot', slot_id, 'seat', seat_id, 'customer', customer, 'booking', id::text)), '[]')::text
FROM bookings WHERE cancelled IS NULL`
