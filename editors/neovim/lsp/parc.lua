-- parc's language server for Neovim 0.11 and newer: copy `lsp/` and `lua/` into your configuration, then
--   vim.filetype.add({ extension = { parc = "parc" } })
--   vim.lsp.enable("parc")
-- `:lua vim.lsp.codelens.refresh()` shows the code lenses, `:lua vim.lsp.codelens.run()` runs one.
local parc = require("parc")

return {
  cmd = { "parc", "lsp" },
  filetypes = { "parc" },
  root_markers = { "pyproject.toml", ".git" },
  commands = parc.commands,
  init_options = {
    commands = vim.tbl_keys(parc.commands),
    trusted = false, -- true offers `build`, which runs your model
  },
}
