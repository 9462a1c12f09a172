SELECT bidder, closed / 10000 * 10000 AS "window", COUNT(*) AS bid_count
FROM bid
GROUP BY 1, 2
