-- The commands of the code lenses above a plan: its picture in a browser, a build in a terminal.
local M = {}

--- Opens a page in the browser of the system.
function M.open(file)
  if vim.ui.open then return vim.ui.open(file) end -- 0.10 and newer
  local opener = vim.fn.has("mac") == 1 and "open" or "xdg-open"
  vim.fn.jobstart({ opener, file }, { detach = true })
end

local function picture(command, context)
  local argument = command.arguments[1]
  local wanted = { textDocument = { uri = argument.uri }, plan = argument.plan }
  vim.lsp.buf_request(context.bufnr, "parc/picture", wanted, function(fault, page)
    local why = fault and fault.message or not page and "no answer" or page.error
    if why then return vim.notify("parc: " .. why, vim.log.levels.WARN) end
    local file = vim.fn.tempname() .. ".html"
    vim.fn.writefile(vim.split(page.html, "\n"), file)
    M.open(file)
  end)
end

-- Runs the user's model, so it asks first, and shows the output.
local function build(command, context)
  local argument = command.arguments[1]
  local question = ("Building runs your model. Build `%s`?"):format(argument.plan)
  if vim.fn.confirm(question, "&Build\n&No", 2) ~= 1 then return end
  vim.api.nvim_buf_call(context.bufnr, function() vim.cmd("silent update") end) -- the file is built, not the text
  local file = vim.uri_to_fname(argument.uri)
  local out = vim.fn.fnamemodify(file, ":r") .. "." .. argument.plan
  local run = vim.list_slice(vim.g.parc_command or { "parc", "lsp" })
  run[#run] = "build" -- instead of `lsp`
  vim.list_extend(run, { file, argument.plan, "-o", out })
  vim.cmd("botright new")
  -- nothing that parc itself imports comes from the folder of the plan
  vim.fn.termopen(run, { cwd = vim.fn.fnamemodify(file, ":h"), env = { PYTHONSAFEPATH = "1" } })
end

M.commands = { ["parc.picture"] = picture, ["parc.build"] = build }

return M
