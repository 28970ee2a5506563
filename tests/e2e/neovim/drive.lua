-- Drives a real Neovim as a person would: see the diagnostic, hover, choose a fix, write the file.
-- Everything it is told comes in environment variables, everything it saw goes into one JSON file:
--   GT_SERVER  command of the server, a JSON list
--   GT_ROOT    workspace folder
--   GT_FILE    file to open
--   GT_CODE    diagnosis type to wait for
--   GT_ACTION  words in the title of the fix to choose
--   GT_REPORT  file for the report
--   GT_WAIT    milliseconds to wait for each thing, 60000 when unset

local wait_ms = tonumber(vim.env.GT_WAIT or "60000")
local report = { titles = {}, notified = {} }

vim.notify = function(message) table.insert(report.notified, message) end

local function await(what, predicate)
  if not vim.wait(wait_ms, predicate, 20) then error("did not come: " .. what) end
end

-- 0.7 keeps the code of a diagnostic elsewhere
local function code_of(d)
  return d.code or (d.user_data and d.user_data.lsp and d.user_data.lsp.code)
end

local function diagnostics()
  return vim.tbl_filter(function(d) return code_of(d) == vim.env.GT_CODE end, vim.diagnostic.get(0))
end

local function start()
  vim.cmd("edit " .. vim.fn.fnameescape(vim.env.GT_FILE))
  vim.bo.filetype = "python"
  local config = {
    name = "gradtracer",
    cmd = vim.json.decode(vim.env.GT_SERVER),
    root_dir = vim.env.GT_ROOT,
  }
  local id
  if vim.lsp.start then
    id = vim.lsp.start(config)
  else -- before 0.8
    id = vim.lsp.start_client(config)
    vim.lsp.buf_attach_client(0, id)
  end
  await("the server", function()
    local client = vim.lsp.get_client_by_id(id)
    return client and client.initialized
  end)
  return id
end

local function see()
  await("the diagnostic " .. vim.env.GT_CODE, function() return #diagnostics() > 0 end)
  local found = diagnostics()[1]
  report.message = found.message
  report.line = found.lnum + 1
  report.line_text = vim.api.nvim_buf_get_lines(0, found.lnum, found.lnum + 1, false)[1]
  report.columns = { found.col, found.end_col }
  vim.api.nvim_win_set_cursor(0, { found.lnum + 1, found.col })
end

local function hover()
  local float
  vim.lsp.buf.hover()
  await("the hover", function()
    for _, window in ipairs(vim.api.nvim_list_wins()) do
      if vim.api.nvim_win_get_config(window).relative ~= "" then float = window end
    end
    return float ~= nil
  end)
  local lines = vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(float), 0, -1, false)
  report.hover = table.concat(lines, "\n")
  vim.api.nvim_win_close(float, true)
end

local function hints()
  if not (vim.lsp.inlay_hint and vim.lsp.inlay_hint.get) then return end
  vim.lsp.inlay_hint.enable(true)
  await("the inlay hints", function() return #vim.lsp.inlay_hint.get({ bufnr = 0 }) > 0 end)
  report.hints = {}
  for _, hint in ipairs(vim.lsp.inlay_hint.get({ bufnr = 0 })) do
    table.insert(report.hints, hint.inlay_hint.label)
  end
end

local function fix()
  local before = vim.api.nvim_buf_get_changedtick(0)
  local chosen = false
  vim.ui.select = function(items, _, choose)
    -- before 0.8 an item is a pair of the client's id and the action
    local function title(item) return (item.action or item[2]).title end
    for _, item in ipairs(items) do table.insert(report.titles, title(item)) end
    for _, item in ipairs(items) do
      if title(item):find(vim.env.GT_ACTION, 1, true) then
        chosen = true
        return choose(item)
      end
    end
    choose(nil)
  end
  vim.lsp.buf.code_action()
  await("the code actions", function() return #report.titles > 0 end)
  if not chosen then error("no action is titled " .. vim.env.GT_ACTION) end
  await("the edit", function() return vim.api.nvim_buf_get_changedtick(0) ~= before end)
  vim.cmd("write")
  await("the end of the diagnostic", function() return #diagnostics() == 0 end)
  report.gone = true
end

local function stop(id)
  local client = vim.lsp.get_client_by_id(id)
  local method = vim.fn.has("nvim-0.11") == 1
  if method then client:stop() else client.stop() end
  await("the end of the server", function()
    return method and client:is_stopped() or not method and client.is_stopped()
  end)
end

local succeeded, problem = xpcall(function()
  local id = start()
  see()
  hover()
  hints()
  fix()
  stop(id)
end, debug.traceback)
if not succeeded then report.problem = problem end
vim.fn.writefile({ vim.json.encode(report) }, vim.env.GT_REPORT)
vim.cmd(succeeded and "qall!" or "cquit")
