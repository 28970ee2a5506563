" Drives a real Vim with ALE as a person would: see the sign, hover, choose a fix, write the file.
" What it is told comes in environment variables (GT_SERVER, a JSON list; GT_ROOT; GT_FILE; GT_CODE;
" GT_ACTION, words in the title of the fix), what it saw goes as JSON into the file GT_REPORT.

set nocompatible hidden noswapfile nomore
filetype plugin on
let s:report = {'titles': []}
let s:wait = 60.0

" The configuration that EDITORS.md gives
let s:server = json_decode($GT_SERVER)
let g:ale_linters = {'python': ['gradtracer']}
let g:ale_linters_explicit = 1
let g:ale_hover_to_preview = 1
let g:ale_floating_preview = 0
packadd ale
set runtimepath^=/usr/share/vim-ale
runtime plugin/ale.vim
call ale#linter#Define('python', {
\ 'name': 'gradtracer',
\ 'lsp': 'stdio',
\ 'executable': s:server[0],
\ 'command': join(['%e'] + s:server[1:], ' '),
\ 'project_root': {buffer -> $GT_ROOT},
\ })

function! s:Await(what, condition) abort
  let l:began = reltime()
  while !a:condition()
    if reltimefloat(reltime(l:began)) > s:wait
      throw 'did not come: ' . a:what
    endif
    sleep 20m
  endwhile
endfunction

function! s:Diagnostics() abort
  return filter(ale#engine#GetLoclist(s:buffer), {_, each -> get(each, 'code', '') ==# $GT_CODE})
endfunction

function! s:Previews() abort
  return filter(getwininfo(), {_, each -> getwinvar(each.winid, '&previewwindow')})
endfunction

" The menu of fixes, answered by title
function! s:Choose(place, items) abort
  let s:report.titles = map(copy(a:items), {_, each -> each[1].title})
  for [l:kind, l:action] in a:items
    if stridx(l:action.title, $GT_ACTION) >= 0
      return ale#codefix#ApplyLSPCodeAction(a:place, l:action)
    endif
  endfor
  let s:report.problem = 'no action is titled ' . $GT_ACTION
endfunction

function! s:Drive() abort
  execute 'edit' fnameescape($GT_FILE)
  setlocal filetype=python
  let s:buffer = bufnr('')
  call ale#Queue(0)
  call s:Await('the diagnostic', {-> len(s:Diagnostics()) > 0})
  let l:found = s:Diagnostics()[0]
  let s:report.message = l:found.text
  let s:report.line_text = getline(l:found.lnum)
  call s:Await('the sign', {-> len(sign_getplaced(s:buffer, {'group': '*'})[0].signs) > 0})
  call cursor(l:found.lnum, l:found.col)
  ALEHover
  call s:Await('the hover', {-> len(s:Previews()) > 0})
  let s:report.hover = join(getbufline(s:Previews()[0].bufnr, 1, '$'), "\n")
  pclose
  let l:before = b:changedtick
  call ale#codefix#Execute(0, function('s:Choose'))
  call s:Await('the edit', {-> b:changedtick != l:before || has_key(s:report, 'problem')})
  if has_key(s:report, 'problem')
    return
  endif
  write
  call s:Await('the end of the diagnostic', {-> len(s:Diagnostics()) == 0})
  let s:report.gone = v:true
endfunction

try
  call s:Drive()
catch
  let s:report.problem = v:exception . ' in ' . v:throwpoint
endtry
call writefile([json_encode(s:report)], $GT_REPORT)
if has_key(s:report, 'problem')
  cquit
endif
qall!
