autocmd BufRead,BufNewFile *.parc setfiletype parc
