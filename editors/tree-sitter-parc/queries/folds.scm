[(body) (list) (call) (group)] @fold
