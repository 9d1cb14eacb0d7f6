-- Ready is what an application waits for: the DataSource points to a complete import. A later poll that fails leaves it
-- True, and says so in UpToDate. CDI's own crons have UpToDate only.
local waiting = {
  -- Nothing has failed: the first import is on its way.
  NoDigest = true, Outdated = true, ImportProgressing = true, EngineUnavailable = true, Pending = true,
  -- What a later try may mend by itself.
  ApiUnavailable = true, Expired = true, InUse = true, NoSpace = true, NotAuthenticated = true, NotServed = true,
  ImagePulling = true, ImporterDied = true, QuotaExceeded = true, RegistryUnavailable = true, StorageUnavailable = true, TargetBusy = true,
  TooManyRequests = true,
}
local annotations = obj.metadata.annotations or {}
if annotations["dataimportcron.io/suspend"] == "true" then
  return {status = "Suspended", message = "Suspended: it is polled only when somebody asks for it"}
end
local status = obj.status or {}
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The change has not been looked at yet"}
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local outcome = found["Ready"] or found["UpToDate"]
if outcome == nil then
  return {status = "Progressing", message = "Waiting for the first poll"}
end
local message = outcome.message
if found["UpToDate"] ~= nil and found["UpToDate"].status ~= "True" then
  message = found["UpToDate"].message
end
if outcome.status == "True" then
  return {status = "Healthy", message = message}
end
if outcome.status == "Unknown" or waiting[outcome.reason] then
  return {status = "Progressing", message = message}
end
return {status = "Degraded", message = message}
