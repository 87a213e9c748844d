(comment) @comment
(string) @string
(quantity) @number
(kind) @keyword
(label) @type
(for (name) @type)
(on (name) @type)
["import" "let" "for" "on" "over"] @keyword
(let name: (name) @constant)
(assignment key: (path) @property)
(claim subject: (path) @property)
(named name: (name) @property)
(pair name: (name) @variable)
(call function: (name) @function)
(configured name: (name) @function)
(relation) @operator
["=" "+" "-" "*" "/"] @operator
["{" "}" "[" "]" "(" ")"] @punctuation.bracket
["," ":" "."] @punctuation.delimiter
((path) @boolean (#any-of? @boolean "true" "false"))
