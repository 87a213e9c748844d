-- One editing session in headless Neovim; what was seen of each step goes to the file named by $SEEN, as JSON.
local seen = {}
local function wait_for(what, condition)
  if not vim.wait(20000, condition, 50) then
    seen.late = what
    error("late: " .. what)
  end
end

local function request(method, params)
  local answers = vim.lsp.buf_request_sync(0, method, params, 20000) or {}
  for _, answer in pairs(answers) do
    if answer.error then error(method .. ": " .. vim.inspect(answer.error)) end
    return answer.result
  end
  error("no answer: " .. method)
end

local function at(pattern, shift)
  vim.fn.cursor(1, 1)
  local line, column = unpack(vim.fn.searchpos(pattern, "cnW"))
  vim.api.nvim_win_set_cursor(0, { line, column - 1 + (shift or 0) })
  local params = vim.lsp.util.make_position_params(0, "utf-16")
  params.context = { triggerKind = 1 }
  return params
end

local function text() return vim.api.nvim_buf_get_lines(0, 0, -1, false) end
local function codes()
  return vim.tbl_map(function(each) return each.code end, vim.diagnostic.get(0))
end

local function session()
  wait_for("a server", function() return #vim.tbl_values(vim.lsp.buf_get_clients(0)) > 0 end)
  wait_for("diagnostics", function() return #vim.diagnostic.get(0) > 0 end)
  local first = vim.diagnostic.get(0)[1]
  seen.diagnostics, seen.line, seen.source = codes(), first.lnum + 1, first.source

  seen.hover = request("textDocument/hover", at("64 GB")).contents.value

  local params = at("cosin")
  params.range = { start = params.position, ["end"] = params.position }
  params.context = { diagnostics = {} }
  local actions = request("textDocument/codeAction", params)
  seen.actions = vim.tbl_map(function(each) return each.title end, actions)
  for _, action in ipairs(actions) do
    if action.kind == "quickfix" and action.isPreferred then
      if not action.edit then action = request("codeAction/resolve", action) end
      vim.lsp.util.apply_workspace_edit(action.edit, "utf-16")
      break
    end
  end
  wait_for("the fix", function() return #vim.diagnostic.get(0) == 0 end)

  local lenses = vim.tbl_map(function(each) return request("codeLens/resolve", each).command end,
    request("textDocument/codeLens", { textDocument = vim.lsp.util.make_text_document_params() }))
  seen.lenses = vim.tbl_map(function(each) return each.command end, lenses)
  local context = { bufnr = vim.api.nvim_get_current_buf() }
  require("parc").open = function(file) seen.page = table.concat(vim.fn.readfile(file), "\n") end
  for _, each in ipairs(lenses) do
    if each.command == "parc.picture" then vim.lsp.commands[each.command](each, context) end
  end
  wait_for("the picture", function() return seen.page ~= nil end)
  local window, wanted = vim.api.nvim_get_current_win(), { arguments = lenses[1].arguments }
  seen.built = {}
  vim.fn.termopen = function(run) table.insert(seen.built, run) end
  for answer = 2, 1, -1 do -- no, then yes
    vim.fn.confirm = function(question) seen.question = question return answer end
    vim.lsp.commands["parc.build"](wanted, context)
  end
  vim.api.nvim_set_current_win(window)

  local completed = request("textDocument/completion", at("seed = 1", 0))
  seen.completion = vim.tbl_map(function(each) return each.label end, completed.items or completed)

  local renamed = at("mesh = \\[\\zsdp")
  renamed.newName = "data_axis"
  vim.lsp.util.apply_workspace_edit(request("textDocument/rename", renamed), "utf-16")
  seen.renamed = text()

  vim.lsp.util.apply_text_edits(
    request("textDocument/formatting", vim.lsp.util.make_formatting_params({})) or {},
    vim.api.nvim_get_current_buf(), "utf-16")
  seen.formatted = text()
  wait_for("no diagnostics", function() return #vim.diagnostic.get(0) == 0 end)
end

local done, fault = pcall(session)
if not done then seen.fault = tostring(fault) end
local out = assert(io.open(os.getenv("SEEN"), "w"))
out:write(vim.json and vim.json.encode(seen) or vim.fn.json_encode(seen))
out:close()
vim.cmd("qa!")
