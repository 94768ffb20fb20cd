-- Expected files that are not held as expected: absent, empty, or an original whose size differs from the recorded one.
-- An unsafe file name has no key and is always a candidate. Where a listing gives no sizes, only absence counts.
-- Relations: expected(n, id, key, expected_bytes), held(digest, size); a digest stands for a key (see held.py).
SELECT e.n, e.id, e.key
FROM expected e LEFT JOIN held h ON md5_number(e.key) = h.digest
WHERE h.digest IS NULL
   OR (h.size = 0 AND e.expected_bytes IS DISTINCT FROM 0)
   OR (e.expected_bytes IS NOT NULL AND h.size <> e.expected_bytes)
