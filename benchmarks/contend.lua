-- Everybody compares and swaps one key: `wrk … -s contend.lua URL -- NAME`; NAME is in no other's values.
-- Prints the same line as load.lua, of those that were done.

local FORM = {["Content-Type"] = "application/x-www-form-urlencoded"}

local threads = {}
local name, current, asked = "", "0", 0
swapped, failed = 0, 0

function setup(thread) table.insert(threads, thread) end

function init(args) name = args[1] end

function request()
  asked = asked + 1
  local path = "/v2/keys/contended?prevValue=" .. current
  return wrk.format("PUT", path, FORM, "value=" .. name .. "." .. asked)
end

-- Whoever wins knows the value from then on, and whoever loses is told it.
function response(status, headers, body)
  if status == 200 then
    swapped, current = swapped + 1, body:match('"value":"([^"]*)"')
  elseif status == 412 then
    current = body:match("!= ([^%]]*)%]")
  else
    failed = failed + 1
  end
end

function done(summary, latency)
  local errors = summary.errors
  local total, wrong = 0, errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    total, wrong = total + thread:get("swapped"), wrong + thread:get("failed")
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p99": %f, "errors": %d}\n',
    total, summary.duration / 1e6, latency:percentile(99) / 1e3, wrong))
end
