"""The Lua filter that copies the model's name of a gRPC request to a header, by which Envoy chooses the cluster."""

from __future__ import annotations

MODEL_HEADER = "x-model"

# No name of a model is part of the source: a header has it percent-encoded, and routes match that.
NAME_TO_HEADER = """\
-- The model's name is field 1 of these requests (grpc_service.proto of KServe v2).
local NAMES_MODEL = {
  ModelInfer = true, ModelReady = true, ModelMetadata = true, ModelConfig = true, ModelStatistics = true,
}
local FIRST_BYTES = 4096  -- the name comes first

-- Return the number of a varint and the position after it; nil where it is cut off.
local function varint(bytes, at)
  local number, scale = 0, 1
  for position = at, at + 9 do
    local byte = string.byte(bytes, position)
    if not byte then return nil end
    number = number + byte % 128 * scale
    if byte < 128 then return number, position + 1 end
    scale = scale * 128
  end
end

-- Return field 1 of the message; nil where it is compressed, or has none in its first bytes.
local function first_field(bytes)
  if string.byte(bytes, 1) ~= 0 then return nil end
  local at = 6  -- after gRPC's flag and length
  while at <= #bytes do
    local tag, length
    tag, at = varint(bytes, at)
    if not tag then return nil end
    local kind = tag % 8
    if kind == 0 then
      length, at = varint(bytes, at)
      if not length then return nil end
    elseif kind == 1 then
      at = at + 8
    elseif kind == 2 then
      length, at = varint(bytes, at)
      if not length then return nil end
      if tag == 10 then
        return at + length - 1 <= #bytes and string.sub(bytes, at, at + length - 1) or nil
      end
      at = at + length
    elseif kind == 5 then
      at = at + 4
    else
      return nil
    end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get("x-model") then return end  -- the client says it
  local method = string.match(headers:get(":path"), "^/inference%.GRPCInferenceService/(%w+)$")
  if not NAMES_MODEL[method] then return end
  local body = handle:body()
  if not body then return end
  local name = first_field(body:getBytes(0, math.min(body:length(), FIRST_BYTES)))
  if not name then return end
  local encoded = string.gsub(name, "[^A-Za-z0-9_.~-]", function(byte)
    return string.format("%%%02X", string.byte(byte))
  end)
  handle:headers():add("x-model", encoded)  -- body() has ended the life of `headers`
  handle:clearRouteCache()
end
"""
