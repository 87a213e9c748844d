-- parc's language server for Neovim 0.11 and newer: copy to `lsp/parc.lua` in your configuration, then
--   vim.filetype.add({ extension = { parc = "parc" } })
--   vim.lsp.enable("parc")
return {
  cmd = { "parc", "lsp" },
  filetypes = { "parc" },
  root_markers = { "pyproject.toml", ".git" },
  init_options = { trusted = false }, -- true offers `build`, which runs your model
}
