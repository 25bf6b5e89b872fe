-- For wrk: presents the values of Authorization that a file has, a line each.

local requests, next = {}, 0

function init(args)
	for value in io.lines(args[1]) do
		requests[#requests + 1] = wrk.format("GET", nil, { Authorization = value, Accept = "application/json" })
	end
	if #requests == 0 then -- without a token
		requests[1] = wrk.format("GET", nil, { Accept = "application/json" })
	end
end

function request()
	next = next % #requests + 1
	return requests[next]
end

function done(summary, latency)
	local e = summary.errors
	io.write(string.format("RESULT %d %d %d %d %f\n", summary.requests, summary.duration,
		e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(99)))
end
