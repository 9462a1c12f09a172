WITH hop (number) AS (VALUES (0), (1), (2), (3), (4)),
counts AS (
    SELECT auction, (date_time / 2000 - number) * 2000 AS "window", COUNT(*) AS num
    FROM bid, hop
    GROUP BY 1, 2
),
most AS (SELECT "window", MAX(num) AS maxn FROM counts GROUP BY "window")
SELECT c."window", c.auction, c.num
FROM counts c JOIN most m ON c."window" = m."window" AND c.num >= m.maxn
