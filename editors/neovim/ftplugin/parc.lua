-- Starts parc's language server for a plan, in Neovim 0.7 and newer.
vim.bo.commentstring = "# %s"
vim.bo.shiftwidth, vim.bo.expandtab = 2, true

local commands = require("parc").commands
for command, run in pairs(commands) do vim.lsp.commands[command] = run end

local name = vim.api.nvim_buf_get_name(0)
local function root()
  local found = vim.fn.finddir(".git", vim.fn.fnamemodify(name, ":p:h") .. ";")
  return found ~= "" and vim.fn.fnamemodify(found, ":p:h:h") or vim.fn.fnamemodify(name, ":p:h")
end

local config = {
  name = "parc",
  cmd = vim.g.parc_command or { "parc", "lsp" },
  root_dir = root(),
  init_options = {
    commands = vim.tbl_keys(commands),
    trusted = vim.g.parc_trusted == true, -- true offers `build`, which runs your model
  },
}
if vim.lsp.start then -- 0.8 and newer: one server for all plans of a folder
  vim.lsp.start(config)
else
  local key = "parc " .. config.root_dir
  _G.parc_servers = _G.parc_servers or {}
  _G.parc_servers[key] = _G.parc_servers[key] or vim.lsp.start_client(config)
  vim.lsp.buf_attach_client(0, _G.parc_servers[key])
end
