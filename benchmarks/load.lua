-- What wrk asks: `wrk … -s load.lua URL -- KIND ARGUMENTS`; see loads.py, which reads the line that it prints.

local FORM = {["Content-Type"] = "application/x-www-form-urlencoded"}

-- What a client sends besides: an HTTP library of Python's, and of Go's.
local CLIENT = {
  ["User-Agent"] = "python-requests/2.31.0",
  ["Accept-Encoding"] = "gzip, deflate",
  ["Accept"] = "*/*",
  ["Connection"] = "keep-alive",
}
local GO = {["User-Agent"] = "Go-http-client/1.1", ["Accept-Encoding"] = "gzip"}

local function with_form(headers)
  local all = {}
  for name, text in pairs(headers) do all[name] = text end
  for name, text in pairs(FORM) do all[name] = text end
  return all
end

local function report(requests, seconds, p99, errors)
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p99": %f, "errors": %d}\n', requests, seconds, p99, errors))
end

local function value(size) return "value=" .. string.rep("x", size) end

-- The path of the i-th of many keys, in directories of so many.
local function path(i, per_directory)
  return string.format("/v2/keys/fill/%d/k%d", math.floor(i / per_directory), i)
end

-- Ask in turn what was made before, for a key each: wrk has to be quicker than the server.
local function in_turn(count, make)
  local requests, n = {}, 0
  for i = 1, count do requests[i] = make(path(i - 1, 1000), i) end
  return function()
    n = n % count + 1
    return requests[n]
  end
end

local kinds = {}

function kinds.put(size, keys)
  local body = value(size)
  return in_turn(keys, function(key) return wrk.format("PUT", key, FORM, body) end)
end

function kinds.update()
  local body = value(100)
  return in_turn(1000, function(key) return wrk.format("PUT", key .. "?prevExist=true", FORM, body) end)
end

-- The new value is the old one, so each of them succeeds, in any order.
function kinds.swap()
  local body, before = value(100), string.rep("x", 100)
  return in_turn(1000, function(key) return wrk.format("PUT", key .. "?prevValue=" .. before, FORM, body) end)
end

function kinds.post()
  return in_turn(1, function() return wrk.format("POST", "/v2/keys/queue" .. os.time(), FORM, value(100)) end)
end

function kinds.mixed()
  local body = value(100)
  return in_turn(1000, function(key, i)
    local headers = i % 2 == 0 and CLIENT or GO
    if i % 5 == 0 then return wrk.format("PUT", key, with_form(headers), body) end
    return wrk.format("GET", key, headers)
  end)
end

-- Each of so many keys once; with a deadline, in seconds since 1970, they all run out in that second.
function kinds.fill(keys, per_directory, connections, deadline)
  local sent, answered, failed, begun, body = 0, 0, 0, os.time(), value(100)
  response = function(status)
    answered = answered + 1
    if status >= 300 then failed = failed + 1 end
    -- wrk itself would not end before its time is up.
    if answered == keys + connections then
      report(answered, os.time() - begun + 1, 0, failed)
      os.exit(0)
    end
  end
  return function()
    local i = sent % keys
    sent = sent + 1
    local form = deadline and body .. "&ttl=" .. math.max(1, deadline - os.time()) or body
    return wrk.format("PUT", path(i, per_directory), FORM, form)
  end
end

-- Any of those keys.
function kinds.look_up(keys, per_directory)
  return function() return wrk.format("GET", path(math.random(0, keys - 1), per_directory)) end
end

-- The same, with a query that means nothing: no request is like one before, so no answer that was kept helps.
function kinds.look_up_anew(keys, per_directory)
  local n = 0
  return function()
    n = n + 1
    return wrk.format("GET", path(math.random(0, keys - 1), per_directory) .. "?n=" .. n)
  end
end

function kinds.overwrite(keys, per_directory)
  local body = value(100)
  return function() return wrk.format("PUT", path(math.random(0, keys - 1), per_directory), FORM, body) end
end

function init(args)
  local kind = kinds[args[1]]
  if kind then request = kind(tonumber(args[2]), tonumber(args[3]), tonumber(args[4]), tonumber(args[5])) end
end

function done(summary, latency)
  local errors = summary.errors
  report(
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout)
end
