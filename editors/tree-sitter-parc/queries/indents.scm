[(body) (list) (call) (group)] @indent
["}" "]" ")"] @outdent
