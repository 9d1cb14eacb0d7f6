-- A DataSource waits for its import; only references that can never be followed are wrong.
local wrong = {CrossNamespaceReference = true, MaxReferenceDepthReached = true, SelfReference = true}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      return {status = "Healthy", message = condition.message}
    end
    return {status = wrong[condition.reason] and "Degraded" or "Progressing", message = condition.message}
  end
end
return {status = "Progressing", message = "Waiting for its source"}
