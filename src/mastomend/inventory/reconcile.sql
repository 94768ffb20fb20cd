-- Expected files that are not held as expected: absent, empty, or an original whose size differs from the recorded one.
-- An unsafe file name has no key and is always a candidate. Tables: expected(n, id, key, expected_bytes), held(key, size).
SELECT e.n, e.id, e.key
FROM expected e LEFT JOIN held h ON e.key = h.key
WHERE h.key IS NULL
   OR (h.size = 0 AND e.expected_bytes IS DISTINCT FROM 0)
   OR (e.expected_bytes IS NOT NULL AND h.size <> e.expected_bytes)
