-- wrk: a different account's access token for every request.
local tokens = {}
local next_token = 0

function init(args)
  for line in io.lines(args[1]) do tokens[#tokens + 1] = "Bearer " .. line end
  next_token = math.random(#tokens)
end

function request()
  next_token = next_token % #tokens + 1
  wrk.headers["Authorization"] = tokens[next_token]
  return wrk.format("GET", nil)
end
