SELECT p.id, p."window", p.name
FROM (SELECT id, name, date_time / 10000 * 10000 AS "window" FROM person GROUP BY 1, 2, 3) p
JOIN (SELECT seller, date_time / 10000 * 10000 AS "window" FROM auction GROUP BY 1, 2) a
ON p.id = a.seller AND p."window" = a."window"
